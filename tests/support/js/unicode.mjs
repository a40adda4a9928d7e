/* Prints what this JavaScript knows of Unicode: `[ignorable, assigned, folded]`, as ranges and pairs.
 *
 * `folded` has the folded form of each character that folding changes.
 */
import { searchable } from "../../../livelog/web/viewer/folding.js";

const codes = Array.from({ length: 0x110000 }, (_, code) => code).filter((c) => c < 0xd800 || c > 0xdfff);
const having = (property) => codes.filter((code) => property.test(String.fromCodePoint(code)));
const folded = codes.map((code) => [code, searchable(String.fromCodePoint(code))]);
const changed = folded.filter(([code, text]) => text !== String.fromCodePoint(code));
const ignorable = having(/\p{Default_Ignorable_Code_Point}/u);
console.log(JSON.stringify({ ignorable, unassigned: having(/\p{Cn}/u), changed }));
