"""As scattering, of luma and chroma."""
_base_ = ['scattering.py']
model = dict(target_generator=dict(colours='opponent'))
