"""MariaDB 10.6 and newer."""
