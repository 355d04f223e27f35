"""What makes the documentation: pages out of the code, and the site out of all pages."""
