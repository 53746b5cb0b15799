-- Ends a stream at the head of its log: sid, entry, code, retention
return cancel(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]))
