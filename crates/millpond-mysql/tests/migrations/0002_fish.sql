CREATE TABLE fish (
    id BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    pond BIGINT NOT NULL REFERENCES ponds (id),
    kind TEXT NOT NULL
);
INSERT INTO ponds (name, depth) VALUES ('founders', 3);
