//! "Did you mean": the known name nearest to a misspelt one.

/// Longer words are not compared, because they are no typing errors and comparing takes long.
const WORD_MAX: usize = 64;

/// Shorter words are part of too many names.
const PART_MIN: usize = 4;

/// Returns the candidate that was probably meant by `word`: the nearest one, at most a third of its
/// letters (but at least two) away, or else the first candidate that contains `word`.
///
/// ```
/// assert_eq!(millpond_config::nearest("sqllite", ["postgresql", "sqlite"]), Some("sqlite"));
/// ```
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (word.len() / 3).max(2);
    let candidates: Vec<_> = candidates.into_iter().collect();
    let near = candidates.iter().filter_map(|name| distance(word, name).map(|far| (far, *name)));
    let nearest =
        near.filter(|(far, name)| *far <= reach && *far < name.len()).min_by_key(|(far, _)| *far);
    let whole =
        || candidates.into_iter().find(|name| word.len() >= PART_MIN && name.contains(word));
    nearest.map(|(_, name)| name).or_else(whole)
}

/// Returns how many letters must be added, dropped, replaced or swapped with a neighbour, ignoring
/// case; `None` if a word is too long.
pub(crate) fn distance(a: &str, b: &str) -> Option<usize> {
    let is_short = a.len() <= WORD_MAX && b.len() <= WORD_MAX;
    is_short.then(|| strsim::osa_distance(&a.to_ascii_lowercase(), &b.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_counts_slips() {
        for (a, b, slips) in [
            ("pool_size", "pool_size", 0),
            ("POOL_SIZE", "pool_size", 0),
            ("pool_sise", "pool_size", 1),
            ("pool_szie", "pool_size", 1),
            ("poolsize", "pool_size", 1),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), Some(slips), "{a} {b}");
        }
    }

    #[test]
    fn the_nearest_name_is_offered_and_a_far_one_is_not() {
        let names = ["pool_size", "pool_timeout", "url"];
        assert_eq!(nearest("pool_sizee", names), Some("pool_size"));
        assert_eq!(nearest("pool_tiemout", names), Some("pool_timeout"));
        assert_eq!(nearest("timeout", names), Some("pool_timeout"));
        assert_eq!(nearest("colour", names), None);
        assert_eq!(nearest(&"x".repeat(1 << 20), names), None);
    }
}
