import { runFuzz } from './run.js';

// 100,000 arbitrary packets against one server: `npm run fuzz`.

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 1e9));
console.log(`fuzz: SEED=${seed} repeats these packets`);
const { violations, ...figures } = await runFuzz({
  seed,
  messages: Number(process.env['MESSAGES'] ?? 100_000),
  victims: 5,
});
console.log(figures);
for (const violation of violations) console.log(`violation: ${violation}`);
process.exit(violations.length === 0 ? 0 : 1);
