// A client of Layshaft's HTTP API in Node 18 or later, without packages:
//
//	node client.mjs http://127.0.0.1:7071 rev hello
const [base, fn, input] = process.argv.slice(2);

// request returns the answer as JSON, or throws the error that the coordinator names.
async function request(path, options) {
  const response = await fetch(base + path, options);
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error ?? response.statusText);
  return answer;
}

// enqueue queues a task and returns its ID. The key makes a repeated request safe.
export async function enqueue(fn, input, options = {}) {
  const task = await request("/api/v1/tasks", {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": crypto.randomUUID() },
    body: JSON.stringify({ function: fn, input_text: input, ...options }),
  });
  return task.id;
}

// attach waits for the end of a task and returns its result.
export async function attach(id) {
  for (;;) {
    const task = await request(`/api/v1/tasks/${id}?wait=30s`);
    if (task.state === "done") {
      return await (await fetch(`${base}/api/v1/tasks/${id}/result`)).text();
    }
    if (task.state === "failed" || task.state === "cancelled") {
      throw new Error(`task ${id} ${task.state}: ${task.error ?? ""}`);
    }
  }
}

const id = await enqueue(fn, input, { priority: "high" });
console.log(await attach(id));
