"""What our commands may look like, so that they hold on a real MongoDB whatever server the tests run on.

`CommandRules` listens to every command that a client sends and holds it against what MongoDB 6.0 and later documents:
an allow-list of commands, stages and operators (its Stable API V1 broadly, and what is named below with a reason), what
a sharded collection and a partial index demand, and the limits of sizes, counts and depth. What is not on a list is not
forbidden for ever: add it where it belongs, with the version that brought it if that is after 6.0.

Violations are collected and raised at the end of the test, with the shape of the command and never its content.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import bson
from bson.binary import UuidRepresentation
from bson.codec_options import CodecOptions
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

Document = Mapping[str, Any]
Violations = Iterator[str]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _operators(text: str) -> frozenset[str]:
    return frozenset(f"${word}" for word in text.split())


# --- limits, as documented under "MongoDB Limits and Thresholds"

DOCUMENT_BYTES = 16 << 20
MESSAGE_BYTES = 48_000_000
BATCH_COUNT = 100_000
LEVELS = 100

# --- collections

# They shard on this key (DESIGN, "The database"): an upsert has to say where a new document goes, findAndModify which
# shard to ask, and no index other than that of the key can be unique.
SHARD_KEY = ("account", "_id")
SHARDED = _words("messages originals placements")
SHARDED_HASHED = _words("blobs.files blobs.chunks")  # no unique index at all

# --- commands

COMMANDS = _words(
    # Stable API V1, without bulkWrite, which is of 8.0, and authenticate, which is X.509's
    "abortTransaction aggregate collMod commitTransaction count create createIndexes delete drop dropDatabase "
    "dropIndexes endSessions explain find findAndModify getMore hello insert killCursors listCollections listDatabases "
    "listIndexes ping refreshSessions update "
    # The driver's: login, which it shows us without content
    "saslStart saslContinue "
    # Ours: which server it is, for `check`; the driver writes it in lower case
    "buildinfo buildInfo"
)

# --- aggregation

STAGES = _operators(
    "addFields bucket bucketAuto count facet group limit lookup match merge project redact replaceRoot replaceWith "
    "sample set setWindowFields skip sort sortByCount unionWith unset unwind "
    "changeStream"  # the feed; needs a replica set, as the whole of ingestd does
)
UPDATE_STAGES = _operators("addFields set project unset replaceRoot replaceWith")  # of an update by pipeline

ACCUMULATORS = _operators(
    "addToSet avg count first last max mergeObjects min push stdDevPop stdDevSamp sum "
    "bottom bottomN firstN lastN maxN minN top topN"  # 5.2; not median and percentile, which are of 7.0
)
WINDOW_FUNCTIONS = ACCUMULATORS | _operators(
    "covariancePop covarianceSamp denseRank derivative documentNumber expMovingAvg integral linearFill locf rank shift"
)

EXPRESSIONS = _operators(
    "abs add ceil divide exp floor ln log log10 mod multiply pow round sqrt subtract trunc "  # arithmetic
    "cmp eq gt gte lt lte ne and not or cond ifNull switch "  # comparison, logic, choice
    "arrayElemAt arrayToObject concatArrays filter first firstN in indexOfArray isArray last lastN map maxN minN "
    "objectToArray range reduce reverseArray size slice sortArray zip "  # arrays; the N and sortArray are of 5.2
    "allElementsTrue anyElementTrue setDifference setEquals setIntersection setIsSubset setUnion "
    "concat indexOfBytes indexOfCP ltrim regexFind regexFindAll regexMatch replaceAll replaceOne rtrim split "
    "strcasecmp strLenBytes strLenCP substr substrBytes substrCP toLower toUpper trim "
    "dateAdd dateDiff dateFromParts dateFromString dateSubtract dateToParts dateToString dateTrunc dayOfMonth "
    "dayOfWeek dayOfYear hour isoDayOfWeek isoWeek isoWeekYear millisecond minute month second week year "
    "tsIncrement tsSecond convert isNumber toBool toDate toDecimal toDouble toInt toLong toObjectId toString type "
    "getField let literal mergeObjects setField unsetField binarySize bsonSize meta rand "
    "avg max min sum stdDevPop stdDevSamp"  # also of an array, outside $group
)
VARIABLES = _words(
    "NOW CLUSTER_TIME ROOT CURRENT REMOVE DESCEND PRUNE KEEP"
)  # others are ours, and start in lower case

# --- queries

COMBINATIONS = _operators("and or nor")
CONDITIONS = _operators("eq ne in nin gt gte lt lte exists type mod regex options all elemMatch size not")
TOP_LEVEL = _operators("expr comment text jsonSchema")  # text: not Stable API; the search index is optional
PARTIAL_INDEX = _operators("eq gt gte lt lte exists type in and or")  # `in` and `or` since 6.0
PROJECTIONS = EXPRESSIONS | _operators("elemMatch slice meta")

# --- updates

UPDATES = _operators("set setOnInsert unset inc min max mul rename addToSet push pull pullAll pop currentDate")
MODIFIERS = {"$push": _operators("each slice sort position"), "$addToSet": _operators("each")}
POSITIONS = re.compile(r"\$(\[\w*\])?")  # $, $[] and $[name] stand for elements of an array, inside a path

# --- indexes

INDEX_TYPES = (1, -1, "hashed", "text")
INDEX_OPTIONS = _words(
    "key name unique sparse hidden expireAfterSeconds partialFilterExpression collation v "
    "weights default_language language_override"  # of a text index
)


class CommandRules(CommandListener):
    """Hears the commands of every client it is given to, and remembers how some left the rules."""

    def __init__(self) -> None:
        self.violations: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        try:
            self.violations.extend(violations(event.command_name, event.command))
        except Exception as error:  # noqa: BLE001 - the driver would print it and go on, and the test would pass
            problem = f"the rules cannot read it ({type(error).__name__}): {shape(event.command)}"
            self.violations.append(f"{event.command_name}: {problem}")

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing: the rules are about what we say."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing: the rules are about what we say."""

    def check(self) -> None:
        """Raise AssertionError when a command has left the rules."""
        assert not self.violations, "\n".join(
            ["commands left what MongoDB documents:", *dict.fromkeys(self.violations)]
        )


def violations(name: str, command: Document) -> Violations:
    """Say how *command* leaves the rules, if it does."""
    if name not in COMMANDS:
        yield f"{name}: not among the commands"
        return
    collection = command.get(name)
    for problem in CHECKS.get(name, _nothing)(command):
        yield f"{name} {collection if isinstance(collection, str) else ''}: {problem}"


def shape(value: Any, depth: int = 0) -> str:
    """Describe *value* by its keys and types."""
    if isinstance(value, Mapping) and depth < 6:
        keys = [f"{_name(key)}: {shape(each, depth + 1)}" for key, each in list(value.items())[:20]]
        return "{" + ", ".join(keys) + "}"
    if isinstance(value, list | tuple) and depth < 6:
        more = f", … {len(value)}" if len(value) > 1 else ""
        return "[" + ", ".join(shape(each, depth + 1) for each in value[:1]) + more + "]"
    return type(value).__name__


# --- commands


def _insert(command: Document) -> Violations:
    documents = command["documents"]
    yield from _batch(documents)
    for document in documents:
        yield from _stored(document, 1)


def _update(command: Document) -> Violations:
    yield from _batch(command["updates"])
    for update in command["updates"]:
        yield from _query(update["q"])
        yield from _change(update["u"], update.get("arrayFilters", ()))
        if update.get("upsert"):
            yield from _targeted(command["update"], "upsert", update["q"], SHARD_KEY)
        elif not update.get("multi"):
            yield from _targeted(command["update"], "update of one", update["q"], ("_id",))


def _delete(command: Document) -> Violations:
    yield from _batch(command["deletes"])
    for delete in command["deletes"]:
        yield from _query(delete["q"])
        if delete["limit"]:
            yield from _targeted(command["delete"], "delete of one", delete["q"], ("_id",))


def _find(command: Document) -> Violations:
    yield from _query(command.get("filter", {}))
    yield from _projection(command.get("projection") or {})
    yield from _sort(command.get("sort", {}))


def _find_and_modify(command: Document) -> Violations:
    yield from _query(command.get("query", {}))
    yield from _projection(command.get("fields") or {})
    yield from _sort(command.get("sort") or {})
    yield from _batch([command])
    yield from _change(command.get("update", {}), command.get("arrayFilters", ()))
    yield from _targeted(command["findAndModify"], "findAndModify", command.get("query", {}), SHARD_KEY)


def _count(command: Document) -> Violations:
    yield from _query(command.get("query", {}))


def _aggregate(command: Document) -> Violations:
    yield from _pipeline(command["pipeline"])


def _view(command: Document) -> Violations:
    """Check a command that makes a view, or changes one; reading it runs its pipeline."""
    yield from _pipeline(command.get("pipeline", ()))


def _create_indexes(command: Document) -> Violations:
    for index in command["indexes"]:
        yield from _index(command["createIndexes"], index)


def _explain(command: Document) -> Violations:
    explained = command["explain"]
    yield from violations(next(iter(explained)), explained)


def _nothing(command: Document) -> Violations:
    yield from ()


CHECKS: dict[str, Callable[[Document], Violations]] = {
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "find": _find,
    "findAndModify": _find_and_modify,
    "count": _count,
    "aggregate": _aggregate,
    "create": _view,
    "collMod": _view,
    "createIndexes": _create_indexes,
    "explain": _explain,
}


# --- sizes and documents


def _batch(statements: Sequence[Document]) -> Violations:
    sizes = [_size(statement) for statement in statements]
    if len(sizes) > BATCH_COUNT:
        yield f"a batch of more than {BATCH_COUNT}"
    if sum(sizes) > MESSAGE_BYTES:
        yield f"a message of more than {MESSAGE_BYTES} bytes"
    if max(sizes, default=0) > DOCUMENT_BYTES:
        yield f"a document of more than {DOCUMENT_BYTES} bytes"


def _stored(value: Any, level: int) -> Violations:
    """Check a value within a document, or one that is compared with what lies in documents."""
    if level > LEVELS:
        yield f"a document of more than {LEVELS} levels"
    elif isinstance(value, Mapping):
        if dollars := [key for key in value if key.startswith("$")]:
            yield f"key {_name(dollars[0])} in a value: {shape(value)}"
        for each in value.values():
            yield from _stored(each, level + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _stored(each, level + 1)


def _size(document: Document) -> int:
    return len(bson.encode(document, codec_options=CodecOptions(uuid_representation=UuidRepresentation.STANDARD)))


# --- queries


def _query(query: Document) -> Violations:
    for key, value in query.items():
        if key in COMBINATIONS:
            for each in value:
                yield from _query(each)
        elif key == "$expr":
            yield from _expression(value)
        elif key.startswith("$"):
            yield from _listed(key, TOP_LEVEL, "operators of a query", query)
        else:
            yield from _condition(value)


def _condition(value: Any) -> Violations:
    """Check what a field is compared with: a value, or operators."""
    if not _has_operators(value):
        yield from _stored(value, 1)
        return
    for operator, operand in value.items():
        yield from _listed(operator, CONDITIONS, "conditions", value)
        if operator == "$not" or (operator == "$elemMatch" and _has_operators(operand, CONDITIONS)):
            yield from _condition(operand)
        elif operator == "$elemMatch":
            yield from _query(operand)
        else:
            yield from _stored(operand, 1)


def _projection(projection: Document) -> Violations:
    for value in projection.values():
        if _has_operators(value):
            for operator in value:
                yield from _listed(operator, PROJECTIONS, "projections", value)
        if _has_operators(value, {"$elemMatch"}):
            yield from _condition(value)
        else:
            yield from _operands(value)


def _sort(sort: Document) -> Violations:
    for value in sort.values():
        if value not in (1, -1) and not _has_operators(value, {"$meta"}):
            yield f"a direction of sorting other than 1 and -1: {shape(sort)}"


def _targeted(collection: str, what: str, query: Document, keys: tuple[str, ...]) -> Violations:
    """Check that a sharded cluster knows where a write goes."""
    missing = set(keys) - set(_equalities(query))
    if collection in SHARDED and missing:
        yield f"{what} on a collection that may be sharded, without equality on {sorted(missing)}: {shape(query)}"


def _equalities(query: Document) -> Iterator[str]:
    for key, value in query.items():
        if key == "$and":
            for each in value:
                yield from _equalities(each)
        elif not isinstance(value, bson.Regex | re.Pattern) and set(_operators_of(value)) <= {"$eq"}:
            yield key


# --- updates


def _change(change: Document | Sequence[Document], array_filters: Iterable[Document]) -> Violations:
    for each in array_filters:
        yield from _query(each)
    if not isinstance(change, Mapping):
        yield from _pipeline(change, UPDATE_STAGES)
    elif _has_operators(change):
        yield from _operations(change)
    else:
        yield from _stored(change, 1)


def _operations(change: Document) -> Violations:
    for operator, fields in change.items():
        yield from _listed(operator, UPDATES, "operators of an update", change)
        for path, value in fields.items():
            yield from _path(path, change)
            yield from _operand(operator, value)
    yield from _conflicts([path for fields in change.values() for path in fields], change)


def _conflicts(paths: Sequence[str], change: Document) -> Violations:
    """Check that no two operations touch the same field, or one a field within the other's."""
    for path, count in Counter(paths).items():
        parents = {path[:at] for at, character in enumerate(path) if character == "."}
        if count > 1 or parents.intersection(paths):
            yield f"two operations on {_name(path)}: {shape(change)}"


def _path(path: str, change: Document) -> Violations:
    for name in path.split("."):
        if name.startswith("$") and not POSITIONS.fullmatch(name):
            yield f"operator {_name(name)} where a field name is expected: {shape(change)}"


def _operand(operator: str, value: Any) -> Violations:
    if operator in MODIFIERS and _has_operators(value):
        for modifier, modified in value.items():
            yield from _listed(modifier, MODIFIERS[operator], f"modifiers of {operator}", value)
            yield from _stored(modified, 1)
    elif operator == "$pull":
        is_query = isinstance(value, Mapping) and not _has_operators(value)
        yield from _query(value) if is_query else _condition(value)
    elif operator == "$currentDate":
        if value is not True and value not in ({"$type": "date"}, {"$type": "timestamp"}):
            yield f"$currentDate of neither date nor timestamp: {shape(value)}"
    else:
        yield from _stored(value, 1)


# --- aggregation


def _pipeline(pipeline: Sequence[Document], stages: frozenset[str] = STAGES) -> Violations:
    for number, stage in enumerate(pipeline):
        if len(stage) != 1:
            yield f"a stage of {len(stage)} operators: {shape(stage)}"
        for name, body in stage.items():
            yield from _listed(name, stages, "stages", stage)
            yield from STAGE_CHECKS.get(name, _operands)(body)
            if name == "$changeStream" and number:
                yield "$changeStream is not the first stage"
            if name == "$merge" and number != len(pipeline) - 1:
                yield "$merge is not the last stage"


def _nested(body: Document) -> Violations:
    """Check $lookup and $unionWith, which may carry a pipeline and variables for it."""
    if isinstance(body, Mapping):
        yield from _pipeline(body.get("pipeline", ()))
        yield from _operands(body.get("let", {}))


def _facet(body: Document) -> Violations:
    for pipeline in body.values():
        yield from _pipeline(pipeline, STAGES - _operators("facet merge changeStream"))


def _merge(body: Any) -> Violations:
    matched = body.get("whenMatched") if isinstance(body, Mapping) else None
    if isinstance(matched, list):
        yield from _pipeline(matched, UPDATE_STAGES)


def _group(body: Document) -> Violations:
    if "_id" not in body:
        yield f"$group without _id: {shape(body)}"
    yield from _expression(body.get("_id"))
    yield from _accumulated({field: value for field, value in body.items() if field != "_id"}, ACCUMULATORS)


def _bucket(body: Document) -> Violations:
    yield from _expression(body["groupBy"])
    yield from _accumulated(body.get("output", {}), ACCUMULATORS)


def _windows(body: Document) -> Violations:
    yield from _expression(body.get("partitionBy"))
    output = {field: {k: v for k, v in each.items() if k != "window"} for field, each in body["output"].items()}
    yield from _accumulated(output, WINDOW_FUNCTIONS)


def _accumulated(fields: Document, allowed: frozenset[str]) -> Violations:
    for value in fields.values():
        if not isinstance(value, Mapping) or len(value) != 1:
            yield f"not one accumulator: {shape(value)}"
            continue
        for operator, operand in value.items():
            yield from _listed(operator, allowed, "accumulators", value)
            yield from _expression(operand)


def _expression(value: Any) -> Violations:
    if _has_operators(value) and len(value) != 1:
        yield f"an expression of {len(value)} keys: {shape(value)}"
    if _has_operators(value):
        for operator in value:
            yield from _listed(operator, EXPRESSIONS, "expressions", value)
    yield from _operands(value)


def _operands(value: Any) -> Violations:
    """Check what lies in an expression: fields, variables, operators within it."""
    if isinstance(value, str) and value.startswith("$$"):
        variable = value[2:].partition(".")[0]
        if variable[:1].isupper() and variable not in VARIABLES:
            yield f"variable $${_name(variable)}: not among the variables"
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if key != "$literal":
                yield from _expression(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _expression(each)


STAGE_CHECKS: dict[str, Callable[[Any], Violations]] = {
    "$match": _query,
    "$sort": _sort,
    "$lookup": _nested,
    "$unionWith": _nested,
    "$facet": _facet,
    "$redact": _expression,
    "$replaceWith": _expression,
    "$sortByCount": _expression,
    "$merge": _merge,
    "$group": _group,
    "$bucket": _bucket,
    "$bucketAuto": _bucket,
    "$setWindowFields": _windows,
}


# --- indexes


def _index(collection: str, index: Document) -> Violations:
    for option in index:
        yield from _listed(option, INDEX_OPTIONS, "options of an index", index)
    if any(kind not in INDEX_TYPES for kind in index["key"].values()):
        yield f"a kind of index that is not among {INDEX_TYPES}"
    if index.get("unique") and collection in SHARDED | SHARDED_HASHED:
        yield f"a unique index on a collection that may be sharded: {shape(index)}"
    yield from _partial(index.get("partialFilterExpression", {}))


def _partial(expression: Document) -> Violations:
    """Check the filter of a partial index, which takes fewer operators than a query."""
    for key, value in expression.items():
        if key in COMBINATIONS:
            yield from _listed(key, PARTIAL_INDEX, "operators of a partial index", expression)
            for each in value:
                yield from _partial(each)
        elif _has_operators(value):
            for operator in value:
                yield from _listed(operator, PARTIAL_INDEX, "operators of a partial index", expression)
            if value.get("$exists") is False:
                yield f"a partial index where a field does not exist: {shape(expression)}"
        elif key.startswith("$"):
            yield f"{_name(key)}: not among the operators of a partial index"


# --- words


def _listed(word: str, allowed: Iterable[str], what: str, within: Any) -> Violations:
    if word not in allowed:
        yield f"{_name(word)}: not among the {what}: {shape(within)}"


def _has_operators(value: Any, among: Iterable[str] | None = None) -> bool:
    """Whether *value* is a document with a key like an operator, or with one of those."""
    return any(among is None or key in among for key in _operators_of(value))


def _operators_of(value: Any) -> list[str]:
    return [key for key in value if key.startswith("$")] if isinstance(value, Mapping) else []


def _name(key: str) -> str:
    """Return *key* if it looks like a name that a program made; other keys may be content."""
    return key if re.fullmatch(r"[\w.$\[\]-]{0,60}", key) else "?"
