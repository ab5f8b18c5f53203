// What both client suites share: a list of named async tests, a deadline for each, a count at the end.
const assert = require('node:assert/strict');

const port = Number(process.env.ANAX_PORT);
const DEADLINE_MS = process.env.ANAX_TEST_SLOW === '1' ? 120000 : 30000;

async function run(tests) {
  let passed = 0, failed = 0;
  for (const [name, test] of Object.entries(tests)) {
    let timer;
    try {
      await Promise.race([test(), new Promise((_, reject) => {
        timer = setTimeout(() => reject(new Error('deadline passed')), DEADLINE_MS);
      })]);
      passed++;
      console.log(`ok ${name}`);
    } catch (e) {
      failed++;
      console.log(`FAILED ${name}: ${e.stack}`);
    } finally {
      clearTimeout(timer);
    }
  }
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed || !passed ? 1 : 0);
}

module.exports = { run, assert, port };
