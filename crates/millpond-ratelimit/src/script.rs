//! The script that decides in Redis, its arguments and its reply.

use crate::gcra::Verdict;
use crate::limit::Limit;
use crate::span::Span;
use millpond_redis::Script;

/// Reads the server's clock, so that the clients' clocks do not matter.
const CLOCK: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local slack = 1
";

/// Takes four arguments for each key: the cost of the request and of a full burst, each as
/// microseconds and millionths of a microsecond. Returns three numbers for each key: whether the
/// request fits, and how far ahead of now the key is.
///
/// The value of a key is its theoretical arrival time, `microseconds:millionths`. The key lives
/// until then, rounded up to the next millisecond plus one, since Redis counts from the start of
/// the present millisecond.
const DECIDE: &str = "
local answer, evaluations, all = {}, {}, true
for i, key in ipairs(KEYS) do
  local cost, cost_part = tonumber(ARGV[4 * i - 3]), tonumber(ARGV[4 * i - 2])
  local most, most_part = tonumber(ARGV[4 * i - 1]), tonumber(ARGV[4 * i])
  local ahead, part, write_back = 0, 0, false
  local stored = redis.call('GET', key)
  if stored then
    local at, at_part = string.match(stored, '^(%d+):(%d+)$')
    if not at then
      return redis.error_reply('WRONGTYPE ' .. key .. ' is no rate limit')
    end
    at, at_part = tonumber(at), tonumber(at_part)
    if at >= now then
      ahead, part = at - now, at_part
    end
    if ahead > most or (ahead == most and part > most_part) then
      ahead, part, write_back = most, most_part, true
    end
  end
  local after, after_part = ahead + cost, part + cost_part
  if after_part >= 1000000 then
    after, after_part = after + 1, after_part - 1000000
  end
  local fits = after < most or (after == most and after_part <= most_part)
  all = all and fits
  evaluations[i] = {ahead, part, after, after_part, fits, write_back}
end
for i, key in ipairs(KEYS) do
  local ahead, part, after, after_part, fits, write_back = unpack(evaluations[i])
  if all then
    if after > ahead or after_part > part then
      write_back = true
    end
    ahead, part = after, after_part
  end
  if write_back then
    local value = string.format('%.0f:%.0f', now + ahead, part)
    redis.call('SET', key, value, 'PX', string.format('%.0f', math.ceil((ahead + 1) / 1000) + \
    slack))
  end
  answer[3 * i - 2], answer[3 * i - 1], answer[3 * i] = fits and 1 or 0, ahead, part
end
return answer
";

/// Creates the script.
pub(crate) fn script() -> Script {
    Script::new([CLOCK, DECIDE].concat())
}

/// The arguments of the script for these limits.
pub(crate) fn arguments(limits: &[Limit], cost: u32) -> Vec<u64> {
    let of = |limit: &Limit| {
        let ((cost, cost_part), (most, most_part)) =
            (limit.interval().times(cost).pair(), limit.tolerance().pair());
        [cost, cost_part, most, most_part]
    };
    limits.iter().flat_map(of).collect()
}

/// Reads the reply. Returns `None` if it is not a reply of this script.
pub(crate) fn verdicts(answer: &[u64], limits: usize) -> Option<Vec<Verdict>> {
    let verdict = |three: &[u64]| match three {
        [fits, ahead, part] => {
            Some(Verdict { fits: *fits == 1, ahead: Span::of_pair(*ahead, *part) })
        }
        _ => None,
    };
    (answer.len() == 3 * limits).then(|| answer.chunks(3).map(verdict).collect())?
}

#[cfg(test)]
mod tests;
