"""What a comparison looks like to a person and to CI: HTML, Markdown, JUnit and data."""
