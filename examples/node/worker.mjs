// A function for `layshaft task work`: the input comes on standard input, the result goes to
// standard output, and an exit code other than 0 fails the attempt.
//
//	layshaft task work -function shout -- node worker.mjs
import { stdin, stdout } from "node:process";

let text = "";
for await (const chunk of stdin.setEncoding("utf8")) text += chunk;
stdout.write(text.trim().toUpperCase());
