-- Append a batch of events to a thread's stream and publish it, in one step.
--
-- KEYS[1]  the stream; its channel has the same name
-- ARGV[1]  mode: append   own events, consecutive seqs of one fence
--                force    the same, past events that the writer no longer holds
--                create   start rows of a claim, or a refill; may make the stream, and skips ids
--                         that are not above its last one
-- ARGV[2]  fence of the writer
-- ARGV[3]  1 when SQL holds every event below this fence (it is settled), else 0
-- ARGV[4]  time to live of the stream, in seconds
-- ARGV[5]  mode create: last id that SQL held at the claim (`<fence>-<seq>`); "" for a refill
-- ARGV[6…] per event: id, type, run, data
--
-- Answers {"OK", last seq}, {"HAVE", seq}, {"FENCED", fence} or {"EMPTY"}.
--
-- Message: "<id before> <settled> <first id> <count>\n", then each event's JSON on a line of its own;
-- one message for consecutive ids of one fence.

local key, mode, fence = KEYS[1], ARGV[1], tonumber(ARGV[2])

local function parts(id)
  local f, s = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(f), tonumber(s)
end

local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', 1)[1]
local last_id, last_fence, last_seq = '0-0', 0, 0
if last then
  last_id = last[1]
  last_fence, last_seq = parts(last_id)
elseif mode ~= 'create' then
  return {'EMPTY'}
end
if last_fence > fence then
  return {'FENCED', last_fence}
end

local first = 6
if mode == 'create' then
  while ARGV[first] do
    local f, s = parts(ARGV[first])
    if f > last_fence or (f == last_fence and s > last_seq) then break end
    first = first + 4
  end
else
  local have = 0
  if last_fence == fence then have = last_seq end
  local _, seq = parts(ARGV[6])
  -- A part that is there may be another's: the writer knows whether it can be its own.
  if seq <= have or (seq > have + 1 and mode ~= 'force') then
    return {'HAVE', have}
  end
end
if not ARGV[first] then
  return {'HAVE', last_seq}
end

local before = last_id
if mode == 'create' then
  -- A cursor at the later of the stream's and SQL's last id has no gap before RUN_STARTED.
  local f, s = parts(ARGV[5])
  if not f then
    before = ARGV[first]
  elseif f > last_fence or (f == last_fence and s > last_seq) then
    before = ARGV[5]
  end
end

local lines, first_id = {}, ARGV[first]
local function publish()
  redis.call('PUBLISH', key, before .. ' ' .. ARGV[3] .. ' ' .. first_id .. ' ' .. #lines
    .. '\n' .. table.concat(lines, '\n'))
end

local at_fence, at_seq
for i = first, #ARGV, 4 do
  local f, s = parts(ARGV[i])
  if at_fence and (f ~= at_fence or s ~= at_seq + 1) then
    publish()
    before, first_id, lines = ARGV[i], ARGV[i], {}
  end
  redis.call('XADD', key, ARGV[i], 'type', ARGV[i + 1], 'run', ARGV[i + 2], 'data', ARGV[i + 3])
  lines[#lines + 1] = ARGV[i + 3]
  at_fence, at_seq = f, s
end
redis.call('EXPIRE', key, ARGV[4])
publish()
return {'OK', at_seq}
