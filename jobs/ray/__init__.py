"""Jobs on a Ray cluster: Ray executes, the records of the workspace stay the truth. None of it imports ray but what
Ray itself runs."""
