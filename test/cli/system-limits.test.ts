/** A system that lets the process have too little, which is said in a sentence before anything is loaded. */
import { execFile } from "node:child_process";
import t from "tap";
import { sandpiperProgram } from "../harness/process.ts";

t.setTimeout(60_000);

const limited = (limit: string, env: Record<string, string> = {}) =>
  new Promise<{ code: number; stdout: string; stderr: string }>((resolve) => {
    const script = `ulimit ${limit} && exec "$@"`;
    execFile(
      "bash",
      ["--norc", "-c", script, "bash", process.execPath, sandpiperProgram, "--version"],
      { env: { PATH: process.env.PATH, ...env } },
      (error, stdout, stderr) => resolve({ code: Number(error?.code ?? 0), stdout, stderr }),
    );
  });

t.test("too few files", { skip: process.platform !== "linux" }, async (t) => {
  for (const files of [40, 64, 127]) {
    const { code, stderr } = await limited(`-n ${files}`);
    t.equal(code, 2);
    t.match(
      stderr,
      new RegExp(`^sandpiper: this process may open only ${files} files at once, but needs at least 128\n[A-Z].*\n$`),
    );
  }
  t.match(await limited("-n 128"), { code: 0, stderr: "" });
});

t.test("too few addresses", { skip: process.platform !== "linux" }, async (t) => {
  for (const kilobytes of [4_000_000, 16_000_000]) {
    const { code, stderr } = await limited(`-v ${kilobytes}`);
    t.equal(code, 2);
    t.match(
      stderr,
      /^sandpiper: this process may not reserve the address space that WebAssembly needs\n[A-Z].*ulimit -v.*\n$/,
    );
    const way = { NODE_OPTIONS: "--disable-wasm-trap-handler" };
    t.match(await limited(`-v ${kilobytes}`, way), { code: 0, stderr: "" }, "the way out that it names");
  }
});
