"""The ocr: the words written on a photo."""
