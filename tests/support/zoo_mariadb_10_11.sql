-- What 10.5 does not have; one statement per line, after zoo.sql.
CREATE TABLE zoo.identified (id INT PRIMARY KEY, u UUID, KEY (u)) ENGINE=InnoDB;
INSERT INTO zoo.identified VALUES (1, '123e4567-e89b-12d3-a456-426655440000'), (2, NULL);
