// Stands in for the vendor's launcher: it has the same variables, port and health check, and starts a runner at once instead of with the first task.
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';

const START = '/opt/n8n/node_modules/@n8n/task-runner/dist/start.js';
const { N8N_RUNNERS_AUTH_TOKEN: token, N8N_RUNNERS_TASK_BROKER_URI: broker, ...environment } = process.env;

async function grant() {
  for (;;) {
    try {
      const answer = await fetch(`${broker}/runners/auth`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ token }),
      });
      if (answer.ok) return (await answer.json()).data.token;
      console.error(`the broker refuses the token: ${answer.status}`);
    } catch (error) {
      console.error(`the broker does not answer: ${error.message}`);
    }
    await sleep(1000);
  }
}

createServer((request, response) => response.end('ok')).listen(5680);
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
for (;;) {
  const env = { ...environment, N8N_RUNNERS_TASK_BROKER_URI: broker, N8N_RUNNERS_GRANT_TOKEN: await grant() };
  const runner = spawn('node', [START], { env, stdio: 'inherit' });
  await new Promise((done) => runner.on('exit', done));
}
