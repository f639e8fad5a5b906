// Takes out of an installed n8n what no server start, page, or Code node needs, so that the image travels quickly:
// packages that only browser bundles (already built) or browser automation need, source maps, type declarations and sources, documentation.
import fs from 'node:fs';
import path from 'node:path';

const root = path.resolve(process.argv[2]);
const unwanted = new Set(['@n8n/design-system', 'agent-browser', 'playwright', 'playwright-core', 'typescript', 'vue', 'vue-i18n']);
const directories = new Set(['.github', '__tests__', '__mocks__', 'docs', 'example', 'examples', 'test', 'tests']);
const endings = /(\.map|\.[cm]?tsx?|\.tsbuildinfo|\.flow|\.mdx?|\.markdown|\.exe|\.tgz|\.vue|\.scss|\.c|\.cc|\.cpp|\.h)$/i;
const foreign = /(^|[-_./])(win32|windows|darwin|macos|android|freebsd|arm64|armv7|arm|ia32|musl)([-_./]|$)/i;

function readPackage(directory) {
  return JSON.parse(fs.readFileSync(path.join(directory, 'package.json'), 'utf8'));
}

function resolvePackage(from, name) {
  for (let directory = from; directory.startsWith(root); directory = path.dirname(directory)) {
    if (path.basename(directory) === 'node_modules') continue;
    const candidate = path.join(directory, 'node_modules', name);
    if (fs.existsSync(path.join(candidate, 'package.json'))) return candidate;
  }
  return undefined;
}

function reachable(start) {
  const seen = new Set();
  const queue = [start];
  while (queue.length > 0) {
    const directory = queue.pop();
    if (seen.has(directory)) continue;
    seen.add(directory);
    const manifest = readPackage(directory);
    const optional = manifest.peerDependenciesMeta ?? {};
    const peers = Object.keys(manifest.peerDependencies ?? {}).filter((name) => !optional[name]?.optional);
    for (const name of [...Object.keys(manifest.dependencies ?? {}), ...peers]) {
      const found = unwanted.has(name) ? undefined : resolvePackage(directory, name);
      if (found) queue.push(found);
    }
  }
  return seen;
}

function* installed(modules) {
  for (const entry of fs.readdirSync(modules, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name === '.bin') continue;
    const directory = path.join(modules, entry.name);
    const packages = entry.name.startsWith('@') ? fs.readdirSync(directory).map((name) => path.join(directory, name)) : [directory];
    for (const candidate of packages) {
      if (fs.existsSync(path.join(candidate, 'package.json'))) yield candidate;
      const nested = path.join(candidate, 'node_modules');
      if (fs.existsSync(nested)) yield* installed(nested);
    }
  }
}

function prune(directory, depth) {
  for (const entry of fs.readdirSync(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) {
      const inPackage = depth > 0 && fs.existsSync(path.join(directory, 'package.json'));
      if (inPackage && directories.has(entry.name)) fs.rmSync(file, { recursive: true });
      else prune(file, depth + 1);
    } else if (endings.test(entry.name) || (entry.name.endsWith('.node') && foreign.test(path.relative(root, file)))) {
      fs.rmSync(file);
    }
  }
}

const modules = path.join(root, 'node_modules');
const keep = reachable(path.join(modules, 'n8n'));
const ordered = [...installed(modules)];
let removed = 0;
for (const directory of ordered) {
  // A package whose nested packages are still needed stays; only its own files could go, which is not worth the risk.
  const holdsKept = [...keep].some((kept) => kept.startsWith(`${directory}${path.sep}`));
  if (!keep.has(directory) && !holdsKept && fs.existsSync(directory)) {
    fs.rmSync(directory, { recursive: true });
    removed += 1;
  }
}
fs.rmSync(path.join(modules, '.bin'), { recursive: true, force: true });
prune(modules, 0);
console.log(`kept ${keep.size} of ${ordered.length} packages, removed ${removed}`);
