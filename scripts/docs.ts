// docs.ts: writes the generated documents.
import { join } from "node:path";

import { formatDocuments } from "./lib/docs/documents.ts";

for (const { path, text } of formatDocuments()) await Bun.write(join(import.meta.dir, "..", path), text);
