//! What Redis does in one step, each on the keys of one tenant or on the one switch.
//!
//! A tenant's pointer is a list of versions, the newest first: those that may count yet, and the
//! newest of those that did when it was written. Names of older versions are made in the script;
//! they have the tenant's hash tag, so they lie in its slot.

/// Prepares a version of a tenant. Whoever is behind what counts is refused. Versions that no reader
/// can look for any more stay a while, for readers that are in the middle.
///
/// Keys: pointer, version. Arguments: version, what counts, start of version keys, grace, fields.
pub(super) const WRITE: &str = r#"
local version, counts, start, grace = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local list, gone, base = {version}, {}, nil
for one in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+%.%d+%.%d+') do
  if one == version then
    -- It is written anew.
  elseif one > counts then
    list[#list + 1] = one
  elseif not base then
    if one > version then return 0 end
    base = one
    list[#list + 1] = one
  else
    gone[#gone + 1] = one
  end
end
table.sort(list, function(a, b) return a > b end)
redis.call('DEL', KEYS[2])
for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
redis.call('SET', KEYS[1], table.concat(list, ' '))
if base then redis.call('PERSIST', start .. base) end
for _, one in ipairs(gone) do redis.call('EXPIRE', start .. one, grace) end
return 1
"#;

/// Makes a version the one that counts, unless a newer one does.
///
/// Keys: switch. Arguments: version, channel, message.
pub(super) const SWITCH: &str = r#"
local counts = redis.call('GET', KEYS[1])
if counts and string.match(counts, '^%d+%.%d+%.%d+$') and counts >= ARGV[1] then
  return counts == ARGV[1] and 1 or 0
end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
"#;

/// Takes back a version of a tenant that never counted and never will.
///
/// Keys: pointer. Arguments: version, start of version keys, grace.
pub(super) const TAKE_BACK: &str = r#"
local list = {}
for one in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  if one ~= ARGV[1] then list[#list + 1] = one end
end
if #list == 0 then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], table.concat(list, ' '))
end
redis.call('EXPIRE', ARGV[2] .. ARGV[1], ARGV[3])
return 1
"#;

/// Lets a tenant go whose newest version says that it is gone, unless it came back meanwhile.
///
/// Keys: pointer. Arguments: version, start of version keys, grace.
pub(super) const FORGET: &str = r#"
local list = redis.call('GET', KEYS[1])
if not list then return 1 end
if string.match(list, '^%S+') ~= ARGV[1] then return 0 end
redis.call('EXPIRE', KEYS[1], ARGV[3])
for one in string.gmatch(list, '%S+') do redis.call('EXPIRE', ARGV[2] .. one, ARGV[3]) end
return 1
"#;
