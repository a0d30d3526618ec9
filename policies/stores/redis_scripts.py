"""The scripts that Redis runs: one takes, one settles. Both are atomic, on Redis' own clock.

Redis 5 and later. Numbers in keys are written with ``%.0f``: Lua would round what has more than 14
digits. All keys of a subscription share a hash tag, so that they live on one node of a cluster.
"""

CLOCK = "redis.call('TIME')"
"""Lua for the present time: seconds since 1970 and microseconds."""


def take_script(clock: str = CLOCK) -> str:
    """Check every limit; charge all or none."""
    return f"local time = {clock}" + _CALENDAR + _TAKE


def settle_script(clock: str = CLOCK) -> str:
    """End an admitted call: its lease goes, and what it used replaces what it held. Once, however
    often it is sent: see :mod:`policies.stores.outbox`."""
    return f"local time = {clock}" + _CALENDAR + _SETTLE


_CALENDAR = """
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function num(x) return string.format('%.0f', x) end

-- Months since year 0, and the day on which the next month begins (H. Hinnant's civil_from_days).
local function month_of(day)
  local z = day + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524)
    - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return 12 * year + month - 1
end
local function month_start(month)
  local year, m = math.floor(month / 12), month % 12 + 1
  if m <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local yoe = year - era * 400
  local mp = m > 2 and m - 3 or m + 9
  local doy = math.floor((153 * mp + 2) / 5)
  local doe = yoe * 365 + math.floor(yoe / 4) - math.floor(yoe / 100) + doy
  return era * 146097 + doe - 719468
end
local day = math.floor(now / 86400000000)
local month = month_of(day)

-- Usage of the day (fields d0 d1 d2) and of the month (m0 m1 m2): requests, rows, microseconds.
local function turn(key)
  local known = redis.call('HMGET', key, 'd', 'm')
  if known[1] ~= num(day) then
    redis.call('HSET', key, 'd', num(day), 'd0', 0, 'd1', 0, 'd2', 0)
  end
  if known[2] ~= num(month) then
    redis.call('HSET', key, 'm', num(month), 'm0', 0, 'm1', 0, 'm2', 0)
    redis.call('PEXPIREAT', key, num((month_start(month + 1) + 1) * 86400000))
  end
end
"""

_TAKE = """
-- KEYS: usage, leases, then of each rate its window and its pace.
-- ARGV: 1 charge, 2 lease, 3 lease in ms, 4 latest time at which somebody waits for this, 5 unit,
-- 6 period, 7 quota (-1 none), 8 hold, 9 concurrency (-1 none), 10 leased, 11 TTL of leases in ms;
-- then of each rate its requests, window, slot (microseconds) and burst (0 none).
-- Answer: which limit refuses (-1 none, -2 too late), time until it does not, now, the numbers.
local charge = ARGV[1] == '1'
if charge and now > tonumber(ARGV[4]) then return {-2, 0, num(now)} end
local quota, hold = tonumber(ARGV[7]), tonumber(ARGV[8])
local concurrency, leased = tonumber(ARGV[9]), ARGV[10] == '1'
local rates = (#KEYS - 2) / 2
local refused, retry = -1, 0
local numbers, due, last, charged = {}, {}, {}, {}

local function entry(text)
  local opened, latest, total = string.match(text, '(%d+) (%d+) (%d+)')
  return tonumber(opened), tonumber(latest), tonumber(total)
end

-- A window is a list of 'opened latest total', where the total counts all admissions up to then.
-- Its head has left the window: what it counts is subtracted from the totals of the others.
local function window_of(key, length)
  local ends = redis.call('LRANGE', key, 0, 1)
  while ends[2] do
    local _, latest = entry(ends[2])
    if latest > now - length then break end
    redis.call('LPOP', key)
    ends = redis.call('LRANGE', key, 0, 1)
  end
  if not ends[1] then return 0, 0, 0 end
  local _, _, base = entry(ends[1])
  if not ends[2] then return 0, 0, base end
  local _, oldest = entry(ends[2])
  local _, _, total = entry(redis.call('LINDEX', key, -1))
  return total - base, oldest + length - now, base
end

local function wait_for(key, length, allowed, base, used)
  for place, text in ipairs(redis.call('LRANGE', key, 1, -1)) do
    local _, latest, total = entry(text)
    if used - (total - base) < allowed then return latest + length - now end
  end
  return length
end

for i = 1, rates do
  local at = 11 + 4 * (i - 1)
  local requests, length = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local burst = tonumber(ARGV[at + 4])
  local key = KEYS[1 + 2 * i]
  local used, more, base = window_of(key, length)
  local free = requests - used
  if free <= 0 then
    local wait = wait_for(key, length, requests, base, used)
    if wait > retry then refused, retry = i - 1, wait end
  end
  if burst > 0 then
    local interval = length / math.max(1, requests)
    local tolerance = (burst - 1) * interval
    local known = tonumber(redis.call('GET', KEYS[2 + 2 * i]) or '0')
    local ahead = math.max(0, known - now)
    local paced, wait = 0, 0
    if ahead > tolerance then
      wait = math.floor(ahead - tolerance) + 1
    else
      paced = math.floor((tolerance - ahead) / interval + 1e-9) + 1
      if ahead > 0 then wait = math.floor(ahead % interval) + 1 end
    end
    due[i] = math.max(known, now) + interval
    if paced <= math.max(free, 0) then
      more = paced < free and wait or math.max(more, wait)
      free = paced
      if paced == 0 and wait > retry then refused, retry = i - 1, wait end
    end
    if more == 0 then more = math.floor(interval) end
  elseif more == 0 then
    more = length
  end
  numbers[2 * i - 1], numbers[2 * i] = free, more
end

if leased then redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', num(now)) end
local busy = leased and redis.call('ZCARD', KEYS[2]) or 0
local unit, period = ARGV[5], ARGV[6]
if quota >= 0 then
  turn(KEYS[1])
  local free = quota - tonumber(redis.call('HGET', KEYS[1], period .. unit))
  local ends = period == 'm' and month_start(month + 1) or day + 1
  local wait = ends * 86400000000 - now + 1
  numbers[2 * rates + 1], numbers[2 * rates + 2] = free, wait
  if free < hold then
    if leased and free + busy * hold >= hold then wait = 1000000 end
    if wait > retry then refused, retry = rates, wait end
  end
end
if concurrency >= 0 then
  numbers[#numbers + 1] = concurrency - busy
  if busy >= concurrency and retry < 1000000 then
    refused, retry = rates + (quota >= 0 and 1 or 0), 1000000
  end
end

if refused == -1 and charge then
  for i = 1, rates do
    local at = 11 + 4 * (i - 1)
    local length, slot = tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
    local key = KEYS[1 + 2 * i]
    if not charged[key] then
      charged[key] = true
      local newest = redis.call('LINDEX', key, -1)
      if not newest then
        redis.call('RPUSH', key, '0 0 0', num(now) .. ' ' .. num(now) .. ' 1')
      else
        local opened, latest, total = entry(newest)
        if now - opened < slot then
          local text = num(opened) .. ' ' .. num(math.max(latest, now)) .. ' ' .. num(total + 1)
          redis.call('LSET', key, -1, text)
        else
          redis.call('RPUSH', key, num(now) .. ' ' .. num(now) .. ' ' .. num(total + 1))
        end
      end
      redis.call('PEXPIRE', key, num(math.floor(length / 1000) + 1000))
    end
    if due[i] then
      local left = math.floor((due[i] - now) / 1000) + 1000
      redis.call('SET', KEYS[2 + 2 * i], string.format('%.3f', due[i]), 'PX', num(left))
    end
    numbers[2 * i - 1] = numbers[2 * i - 1] - 1
  end
  if quota >= 0 then
    redis.call('HINCRBY', KEYS[1], 'd' .. unit, hold)
    redis.call('HINCRBY', KEYS[1], 'm' .. unit, hold)
    numbers[2 * rates + 1] = numbers[2 * rates + 1] - hold
  end
  if leased then
    redis.call('ZADD', KEYS[2], num(now + tonumber(ARGV[3]) * 1000), ARGV[2])
    redis.call('PEXPIRE', KEYS[2], ARGV[11])
  end
  if concurrency >= 0 then numbers[#numbers] = numbers[#numbers] - 1 end
end
local answer = {refused, num(retry), num(now)}
for _, number in ipairs(numbers) do answer[#answer + 1] = number end
return answer
"""

_SETTLE = """
-- KEYS: usage, leases, the highest number counted of this gateway. ARGV: 1 number, 2 lease or
-- empty, 3 when it was taken, 4 requests, 5 rows, 6 microseconds, 7 unit or empty, 8 hold, 9 TTL of
-- the highest number in ms.
if ARGV[2] ~= '' then redis.call('ZREM', KEYS[2], ARGV[2]) end
if tonumber(ARGV[1]) <= tonumber(redis.call('GET', KEYS[3]) or '0') then return 0 end
redis.call('SET', KEYS[3], ARGV[1], 'PX', ARGV[9])
turn(KEYS[1])
local taken = math.floor(tonumber(ARGV[3]) / 86400000000)
-- What was held is not there if Redis has lost its memory meanwhile: nothing falls below zero.
local function count(field, number)
  if number ~= 0 and redis.call('HINCRBY', KEYS[1], field, num(number)) < 0 then
    redis.call('HSET', KEYS[1], field, 0)
  end
end
for unit = 0, 2 do
  local used = tonumber(ARGV[4 + unit])
  local held = ARGV[7] == tostring(unit) and tonumber(ARGV[8]) or 0
  -- What was held in an earlier period was held there.
  local daily = used - (taken == day and held or 0)
  local monthly = used - (month_of(taken) == month and held or 0)
  count('d' .. unit, daily)
  count('m' .. unit, monthly)
end
return 1
"""
