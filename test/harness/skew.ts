/**
 * Loaded into the program by `node --import dist/test/harness/skew.js`: SP_SKEW=NAME:N:MS moves the wall clock forward by MS when the
 * N-th step NAME (src/step.ts) is reached. Timers and performance.now() go on as before.
 */
import { subscribe } from "node:diagnostics_channel";

const [name, n, ms] = (process.env.SP_SKEW ?? "").split(":");
const now = Date.now;
let skewMs = 0;
Date.now = () => now() + skewMs;

subscribe("sandpiper:step", (message) => {
  const step = message as { name: string; n: number };
  if (step.name === name && step.n === Number(n)) skewMs = Number(ms);
});
