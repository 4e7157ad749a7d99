-- Takes or keeps a lease. Needs no right to overwrite or delete anything: a gateway's user has none.
--
-- KEYS[1]  the lease
-- ARGV[1]  who asks; ARGV[2] milliseconds it is to last
--
-- Returns {1 if nobody had it, who has it, Redis's time: seconds, microseconds}
local time = redis.call('TIME')
local taken = redis.call('SETNX', KEYS[1], ARGV[1])
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('GETEX', KEYS[1], 'PX', ARGV[2])
end
return {taken, holder, time[1], time[2]}
