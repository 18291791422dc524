/** What the system must let a process have before the program can even be loaded. */
import { readFileSync } from "node:fs";
import { SandpiperError } from "../errors.ts";

/** Loading opens some 90 files at once. */
const leastFiles = 128;
/** Each reserves 10 GB of addresses, of which it uses next to nothing; Node has one of its own beside ours. */
const wasmMemories = 2;

// TypeScript knows it as a thing of browsers alone.
declare const WebAssembly: { Memory: new (options: { initial: number }) => object };

/** @throws `config` where it would fail with what nobody understands. */
export function checkSystemLimits(): void {
  const files = mostFiles();
  if (files < leastFiles) {
    throw new SandpiperError(
      "config",
      `this process may open only ${files} files at once, but needs at least ${leastFiles}`,
      {
        hint: "Raise the limit (ulimit -n, LimitNOFILE= in systemd); `serve` opens one more for each connection.",
      },
    );
  }
  try {
    for (let n = 0; n < wasmMemories; n++) reserved.push(new WebAssembly.Memory({ initial: 1 }));
  } catch (cause) {
    throw new SandpiperError("config", "this process may not reserve the address space that WebAssembly needs", {
      cause,
      hint: "Raise the limit of its address space (ulimit -v, LimitAS= in systemd), or set NODE_OPTIONS=--disable-wasm-trap-handler, which does without.",
    });
  } finally {
    reserved.length = 0;
  }
}

/** Held together for a moment, so that neither takes the other's place. */
const reserved: object[] = [];

/** Linux only, where a process can read its limits; Node has raised them as far as it may. */
function mostFiles(): number {
  try {
    return Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))?.[1] ?? Number.NaN);
  } catch {
    return Number.NaN;
  }
}
