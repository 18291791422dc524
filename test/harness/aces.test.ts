import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import t from "tap";
import { acesBytes, generateAces, writeAces } from "./aces.ts";
import { scratch } from "./scratch.ts";

const count = (bytes: Buffer, pattern: RegExp) => bytes.toString("latin1").match(pattern)?.length ?? 0;
const percentile = (values: number[], p: number) => values.toSorted((a, b) => a - b)[Math.floor(values.length * p)]!;

t.test("a generated file has the measured shape of a real one", async (t) => {
  const applications = 6512;
  for (const seed of [1, 2, 3]) {
    const bytes = acesBytes({ applications, seed });
    const apps = bytes.toString("latin1").match(/<App [\s\S]*?<\/App>/g)!;
    t.equal(apps.length, applications);
    const median = percentile(
      apps.map((app) => app.length),
      0.5,
    );
    t.ok(median >= 136 && median <= 166, `seed ${seed}: ${median} bytes per App in the median`);
    const ratio = bytes.length / gzipSync(bytes).length;
    t.ok(ratio > 12 && ratio < 30, `seed ${seed}: gzip ${ratio.toFixed(1)}:1`);
    const parts = new Map<string, number>();
    for (const [, part] of bytes.toString("latin1").matchAll(/<Part>(.*)<\/Part>/g)) {
      parts.set(part!, (parts.get(part!) ?? 0) + 1);
    }
    const perPart = [...parts.values()];
    const middle = percentile(perPart, 0.5);
    t.ok(middle >= 10 && middle <= 24, `seed ${seed}: ${middle} applications per part in the median`);
    t.ok(Math.max(...perPart) <= 281);
    const noted = apps.filter((app) => app.includes("<Note>")).length / applications;
    t.ok(noted > 0.37 && noted < 0.43, `seed ${seed}: ${(noted * 100).toFixed(1)} % with a note`);
    for (const element of ["BaseVehicle", "Qty", "PartType", "Position", "Part"]) {
      t.ok(
        apps.every((app) => app.includes(`<${element}`)),
        `every App has ${element}`,
      );
    }
  }
});

t.test("the text comes in pieces, so that a file of any size can be made", async (t) => {
  const pieces = [...generateAces({ applications: 5000, seed: 1 })];
  t.ok(pieces.length > 5);
  t.ok(Math.max(...pieces.map((piece) => piece.length)) < 70_000);
  t.match(pieces.at(-1), "<RecordCount>5000</RecordCount>");
});

t.test("the bytes of each variant", async (t) => {
  const options = { applications: 500, seed: 7 };
  const latin1 = acesBytes(options);
  t.match(
    latin1.toString("latin1"),
    /^<\?xml version="1.0" encoding="ISO-8859-1"\?>\r\n<ACES version="3.1">\r\n\t<Header>/,
  );
  t.equal(count(latin1, /\n/g), count(latin1, /\r\n/g), "every line ends with CRLF");
  t.equal(count(latin1, /[\x80-\x9f]/g), 0, "nothing beyond ISO-8859-1");
  t.ok(count(latin1, /[\xa0-\xff]/g) > 0, "but more than ASCII");
  const cp1252 = acesBytes({ ...options, variant: "cp1252" });
  t.ok(count(cp1252, /[\x80-\x9f]/g) > 0, "bytes that only Windows-1252 has");
  const utf8 = acesBytes({ ...options, variant: "utf8" });
  t.same([...utf8.subarray(0, 3)], [0xef, 0xbb, 0xbf], "a byte order mark");
  t.ok(Buffer.from(utf8.toString()).equals(utf8), "valid UTF-8");
  t.equal(count(utf8, /\r/g), 0);
});

t.test("a seed repeats exactly, and a file on disk has the same bytes", async (t) => {
  const options = { applications: 3000, seed: 42 };
  const bytes = acesBytes(options);
  t.ok(bytes.equals(acesBytes(options)));
  t.notOk(bytes.equals(acesBytes({ ...options, seed: 43 })));
  const path = join(await scratch(t), "aces.xml");
  await writeAces(path, options);
  t.ok(bytes.equals(await readFile(path)));
  const digest = createHash("sha256").update(bytes).digest("hex");
  t.equal(digest.slice(0, 16), "f457321aca196019", "changed the generator? then change this too");
});
