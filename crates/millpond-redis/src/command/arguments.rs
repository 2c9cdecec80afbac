//! The arguments of a command. The first one needs no allocation: most commands have only one.

use bytes::Bytes;

/// The arguments of a command, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    first: Option<Bytes>,
    rest: Vec<Bytes>,
}

impl Arguments {
    pub(crate) fn push(&mut self, arg: Bytes) {
        if self.first.is_none() {
            self.first = Some(arg);
        } else {
            self.rest.push(arg);
        }
    }

    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()).saturating_add(self.rest.len())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Bytes> {
        self.first.iter().chain(&self.rest)
    }

    pub(crate) fn last(&self) -> Option<&Bytes> {
        self.rest.last().or(self.first.as_ref())
    }
}

impl IntoIterator for Arguments {
    type Item = Bytes;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Bytes>, std::vec::IntoIter<Bytes>>;
    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

impl FromIterator<Bytes> for Arguments {
    fn from_iter<I: IntoIterator<Item = Bytes>>(args: I) -> Self {
        let mut args = args.into_iter();
        Self { first: args.next(), rest: args.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_keep_their_order_however_many_there_are() {
        let words = ["a", "b", "c"].map(|word| Bytes::from_static(word.as_bytes()));
        for count in 0..=words.len() {
            let mut args = Arguments::default();
            words.iter().take(count).cloned().for_each(|word| args.push(word));
            assert_eq!(args.len(), count);
            assert!(args.iter().eq(&words[..count]));
            assert_eq!(args.last(), words[..count].last());
            assert_eq!(args, words.iter().take(count).cloned().collect());
            assert!(args.clone().into_iter().eq(words[..count].to_vec()));
        }
    }
}
