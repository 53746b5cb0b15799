-- Forgets counts: names
for _, name in ipairs(ARGV) do
  redis.call('DEL', key('u', name))
end
return 1
