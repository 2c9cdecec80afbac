CREATE TABLE fish (
    id INTEGER PRIMARY KEY,
    pond INTEGER NOT NULL REFERENCES ponds (id),
    kind TEXT NOT NULL
);
INSERT INTO ponds (name, depth) VALUES ('founders', 3);
