"""Types that flow code annotates its parameters with."""
