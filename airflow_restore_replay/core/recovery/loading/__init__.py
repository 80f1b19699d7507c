"""Put restored tables into a living server: as a tablespace where that is possible, else row by row."""
