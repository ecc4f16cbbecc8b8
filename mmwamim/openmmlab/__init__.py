"""What other OpenMMLab packages do differently once ``mmwamim`` is imported."""
