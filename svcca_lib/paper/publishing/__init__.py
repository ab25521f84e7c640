"""The site and the PDF, from executed chapters."""
