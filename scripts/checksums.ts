// checksums.ts FOLDER FILE…: writes FOLDER/SHA256SUMS, which `sha256sum -c` reads.
import { join } from "node:path";

const [folder, ...names] = Bun.argv.slice(2);
if (folder === undefined || names.length === 0) throw new Error("usage: checksums.ts FOLDER FILE…");

const lines: string[] = [];
for (const name of names) {
  const hash = new Bun.CryptoHasher("sha256");
  for await (const chunk of Bun.file(join(folder, name)).stream()) hash.update(chunk);
  lines.push(`${hash.digest("hex")}  ${name}\n`);
}
await Bun.write(join(folder, "SHA256SUMS"), lines.join(""));
console.log(lines.join("").trimEnd());
