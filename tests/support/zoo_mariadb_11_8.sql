-- What 10.11 does not have; one statement per line, after zoo.sql.
CREATE TABLE zoo.embeddings (id INT PRIMARY KEY, e VECTOR(4) NOT NULL, VECTOR INDEX (e)) ENGINE=InnoDB;
INSERT INTO zoo.embeddings SELECT seq, VEC_FromText(CONCAT('[', seq, ',0.5,', seq / 3, ',-1]')) FROM zoo.seq_1_to_100;
CREATE TABLE zoo.late (id INT PRIMARY KEY, t TIMESTAMP(6) NULL, a INET4, u UUID DEFAULT UUID_v7()) ENGINE=InnoDB;
INSERT INTO zoo.late (id, t, a) VALUES (1, '2105-12-31 23:59:59.999999', '192.0.2.1');
CREATE SEQUENCE zoo.small AS SMALLINT UNSIGNED START WITH 65000;
SELECT NEXTVAL(zoo.small);
