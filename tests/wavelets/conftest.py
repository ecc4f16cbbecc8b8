import pytest

from mmwamim.wavelets import axis


@pytest.fixture(params=['product', 'sums'])
def way(request, monkeypatch):
    """Both ways to a step along an axis."""
    monkeypatch.setattr(axis, 'VALUES_A_TAP', 64 if request.param == 'product' else 0)
    return request.param
