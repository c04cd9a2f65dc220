/** An application that is tried through the ingress, and what it needs. Its pinned versions are in `test/e2e/apps/<name>/`. */
export interface AppParts {
  /** Its folder's name. */
  readonly name: string;
  /** For a person: what it is. The table of docs/apps.md has it, where its tests have no titles of their own. */
  readonly title: string;
  /** Whether CI runs it; the others run with `./scripts/apps`. */
  readonly inCi: boolean;
  /** Programs that the machine has to have, each with the Debian package that brings it. */
  readonly programs: Readonly<Record<string, string>>;
}

const PYTHON = { python3: "python3 python3-venv" };
const NODE = { node: "nodejs" };
/** Native parts of Node.js packages are compiled. */
const NODE_NATIVE = { npm: "npm", make: "make", "g++": "g++", python3: "python3" };

/** Every application, those first that more people use. */
export const APPS: readonly AppParts[] = [
  { name: "jupyter", title: "JupyterLab", inCi: true, programs: PYTHON },
  { name: "vite", title: "Vite's dev server", inCi: true, programs: NODE },
  { name: "streamlit", title: "Streamlit", inCi: true, programs: PYTHON },
  {
    name: "novnc",
    title: "noVNC over websockify",
    inCi: true,
    programs: { websockify: "novnc", Xtigervnc: "tigervnc-standalone-server", xsetroot: "x11-xserver-utils" },
  },
  { name: "cdp", title: "Chrome DevTools protocol, Playwright", inCi: true, programs: NODE },
  { name: "s3", title: "S3 (moto), s3cmd and boto3", inCi: true, programs: PYTHON },
  { name: "django", title: "Django's admin", inCi: false, programs: PYTHON },
  { name: "gradio", title: "Gradio", inCi: false, programs: PYTHON },
  { name: "nextjs", title: "Next.js dev server", inCi: false, programs: NODE },
  { name: "mcp", title: "MCP servers and clients", inCi: false, programs: { ...PYTHON, ...NODE } },
  { name: "gorilla", title: "gorilla/websocket, absolute redirects", inCi: false, programs: { go: "golang" } },
  { name: "code-server", title: "code-server (VS Code)", inCi: false, programs: NODE_NATIVE },
  { name: "wetty", title: "WeTTY, a terminal", inCi: false, programs: NODE_NATIVE },
  { name: "git", title: "git over HTTP", inCi: false, programs: { git: "git", go: "golang" } },
];
