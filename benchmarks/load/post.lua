-- Posts one student after another; counts answers that are not 200, connections cut off, and answers later than 2 s
local students = {}
for line in io.lines(os.getenv("STUDENTS")) do students[#students + 1] = line end
local asked = os.getenv("ASKED")
local at, threads = 0, {}
function setup(thread) threads[#threads + 1] = thread end
function init() failed = 0 end
function request()
  at = at % #students + 1
  return wrk.format("POST", asked, {["content-type"] = "application/json"}, students[at])
end
function response(status) if status ~= 200 then failed = failed + 1 end end
function done(summary, latency)
  local failed = 0
  for _, thread in ipairs(threads) do failed = failed + thread:get("failed") end
  local errors = summary.errors
  io.write(string.format('RESULT {"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, "cut": %d, "late": %d}\n',
    summary.requests, summary.duration/1e6, latency:percentile(50)/1e3, latency:percentile(99)/1e3, failed,
    errors.connect + errors.read + errors.write, errors.timeout))
end
