"""What makes the book a book: notebooks and their pairs, generated tables, the public address."""
