-- Keeps one picture of a rejected part in a stream that is bounded by the bytes of its entries: the oldest leave.
--
-- KEYS[1]     the stream; each entry knows its own size and, in `upto`, that of all that were ever written up to it
-- ARGV[1..2]  bytes at most; milliseconds an entry is kept
-- ARGV[3..]   the frame's id, the reason, the verdict as JSON, the picture as PNG
local max_bytes, keep_ms, id, reason, verdict, png = tonumber(ARGV[1]), tonumber(ARGV[2]), unpack(ARGV, 3)
local size = #verdict + #png

local function number(entry, name)
  for at = 1, #entry[2], 2 do
    if entry[2][at] == name then
      return tonumber(entry[2][at + 1])
    end
  end
end

local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
local upto = (newest and number(newest, 'upto') or 0) + size
redis.call('XADD', KEYS[1], '*', 'upto', string.format('%d', upto), 'size', size, 'id', id, 'reason', reason,
  'verdict', verdict, 'png', png)
redis.call('EXPIRE', KEYS[1], math.ceil(keep_ms / 1000))
local time = redis.call('TIME')
local now_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('XTRIM', KEYS[1], 'MINID', '=', string.format('%d', now_ms - keep_ms))
while true do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not oldest or upto - number(oldest, 'upto') + number(oldest, 'size') <= max_bytes then
    return redis.call('XLEN', KEYS[1])
  end
  redis.call('XTRIM', KEYS[1], 'MAXLEN', '=', redis.call('XLEN', KEYS[1]) - 1)
end
