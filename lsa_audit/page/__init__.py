"""What pages are made of, whatever they show. No torch."""
