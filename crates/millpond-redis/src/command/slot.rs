//! The slots of a cluster, and how they follow from keys.

/// The slots of the keys of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// The command has no key.
    Any,
    /// All keys have this slot.
    One(u16),
    /// The keys have different slots, which a cluster refuses.
    Several,
}

impl Slot {
    /// Returns the slot that the keys of several commands share.
    pub(crate) fn common(slots: impl Iterator<Item = Self>) -> Self {
        slots.fold(Self::Any, |common, slot| match (common, slot) {
            (Self::Any, slot) | (slot, Self::Any) => slot,
            (common, slot) if common == slot => common,
            _ => Self::Several,
        })
    }
}

/// Returns the slot of a key, of the 16,384 slots of a cluster. If there is something between the
/// first `{` and the next `}`, that part alone decides:
/// <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>.
pub fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

/// How many slots there are.
const SLOTS: u16 = 16_384;

/// Returns the part between braces that decides instead of the whole key.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let (_, behind) =
        key.split_at_checked(key.iter().position(|byte| *byte == b'{')?.saturating_add(1))?;
    let (tag, _) = behind.split_at_checked(behind.iter().position(|byte| *byte == b'}')?)?;
    (!tag.is_empty()).then_some(tag)
}

/// CRC-16/XMODEM, four bits at a time.
fn crc16(bytes: &[u8]) -> u16 {
    const TABLE: [u16; 16] = [
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50A5, 0x60C6, 0x70E7, 0x8108, 0x9129, 0xA14A,
        0xB16B, 0xC18C, 0xD1AD, 0xE1CE, 0xF1EF,
    ];
    let half = |crc: u16, bits: u8| {
        (crc << 4) ^ TABLE.get(usize::from((crc >> 12) ^ u16::from(bits))).unwrap_or(&0)
    };
    bytes.iter().fold(0, |crc, byte| half(half(crc, byte >> 4), byte & 15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_computed_as_redis_does() {
        assert_eq!(slot_of(b"123456789"), 0x31C3);
        // `redis-cli CLUSTER KEYSLOT somekey`, from its documentation.
        assert_eq!(slot_of(b"somekey"), 11_058);
        assert_eq!(slot_of(b"foo{hash_tag}"), 2515);
    }

    #[cfg(feature = "fred")]
    #[test]
    fn the_drivers_agree_on_the_slot_of_any_key() {
        let mut random = fastrand::Rng::with_seed(5);
        for _ in 0..50_000 {
            let key: Vec<u8> =
                (0..random.usize(..12)).map(|_| *random.choice(b"{}{}ab\xff\0").unwrap()).collect();
            assert_eq!(slot_of(&key), fred::util::redis_keyslot(&key), "{key:?}");
        }
    }
}
