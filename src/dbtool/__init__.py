"""dbtool: back up, restore and prove PostgreSQL, MySQL and MariaDB databases."""

__version__ = "0.1.0"
