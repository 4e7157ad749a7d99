-- Stores verdicts, each frame's once. The first verdict stands; a later one for the same frame is a duplicate.
--
-- KEYS[1]          the result stream
-- KEYS[2..n+1]     for each verdict, the bitmap of its camera, session and seq >> 16
-- ARGV[1..4]       seconds the bitmaps live; milliseconds entries are kept; entries kept at most; fields a verdict
-- ARGV[5..]        the fields' names
-- then, for each verdict: its bit; valid_until_us or ''; when it was judged, on this clock, in microseconds; and
--                  its fields' values
--
-- Returns, for each verdict: {'stored', id} | {'late', id} | {'duplicate', ''}
--                             | {'error', 'seen: ' or 'results: ' by the key, and what Redis said of it}
local ttl_s, keep_ms, max_entries, count = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local answers = {}
local at = 5 + count
local place = {}
for field = 1, count do
  place[ARGV[4 + field]] = 2 * field
end

local function refusal(key, reply)
  return type(reply) == 'table' and reply.err and {'error', key .. ': ' .. reply.err}
end

for index = 2, #KEYS do
  local bit, valid_until_us, judged_us = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local fields, word = {}, 'stored'
  for field = 1, count do
    fields[2 * field - 1], fields[2 * field] = ARGV[4 + field], ARGV[at + 2 + field]
  end
  at = at + 3 + count
  -- Late is decided here, where time is one: a PASS that arrives after its budget opens nothing.
  if fields[place['decision']] == 'pass' and valid_until_us ~= '' and now_us > tonumber(valid_until_us) then
    fields[place['decision']], fields[place['reason']], fields[place['reason_code']] = 'fail', 'late', '2'
    word = 'late'
  end
  local store_us = judged_us == '' and 0 or math.max(0, now_us - tonumber(judged_us))
  local stages = fields[place['latency_us']]
  local comma = stages == '{' and '' or ', '
  fields[place['latency_us']] = stages .. comma .. string.format('"store": %d}', store_us)

  local seen = redis.pcall('GETBIT', KEYS[index], bit)
  local answer = refusal('seen', seen)
  if seen == 0 then
    -- What follows XADD must not fail, or the entry would stand without its bit and be written again with each try. So
    -- it is tried first, changing nothing: a user who may not SETBIT, a full memory or a wrong type show here.
    answer = refusal('seen', redis.pcall('SETBIT', KEYS[index], bit, 0))
      or refusal('seen', redis.pcall('EXPIRE', KEYS[index], ttl_s))
  elseif seen == 1 then
    answer = {'duplicate', ''}
  end
  if not answer then
    -- XADD before the bit is set: an entry that can't be written must not leave a bit behind.
    local id = redis.pcall('XADD', KEYS[1], '*', unpack(fields))
    answer = refusal('results', id)
    if not answer then
      redis.call('SETBIT', KEYS[index], bit, 1)
      answer = {word, id}
    end
  end
  answers[#answers + 1] = answer
end

redis.pcall('XTRIM', KEYS[1], 'MINID', '~', string.format('%d', math.floor(now_us / 1000) - keep_ms))
redis.pcall('XTRIM', KEYS[1], 'MAXLEN', '~', max_entries)
return answers
