"""What is kept on disk, and the words everyone shares; imports none of ours."""
