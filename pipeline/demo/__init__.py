"""`pipeline demo`: a week in a small simulated shop, through the real worker on embedded servers."""
