"""What keeps an installation in good order: looking it over, checking its books and files, carrying it elsewhere."""
