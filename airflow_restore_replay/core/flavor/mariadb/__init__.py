"""MariaDB 10.5 and newer."""
