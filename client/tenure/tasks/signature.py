"""What the arguments and the result of a task are: checked and encoded, and back."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from inspect import Parameter
from typing import Any

from tenure.errors import ArgumentError
from tenure.tasks.binding import Binder, make_binder, named
from tenure.tasks.depends import Dependency
from tenure.tasks.shapes.base import Misfit, Shape, Unshapable
from tenure.tasks.shapes.compiling import Compiler
from tenure.tasks.shapes.containers import dict_shape, long_tuple_shape
from tenure.tasks.shapes.plain import ANY, STR

_compiler = Compiler()


class Signature:
    """The parameters and the result of a task; its annotations are read at the first use.

    - `names`: the parameters that calls give; `dependencies`: those that the worker fills in.

    Raises `TypeError` for a function whose parameters cannot be those of a task.
    """

    def __init__(self, task: str, function: Callable[..., Any]) -> None:
        self.task = task
        self.function = function
        self._signature = inspect.signature(function)
        self.parameters = list(self._signature.parameters.values())
        self.dependencies: Mapping[str, Dependency] = {
            one.name: one.default for one in self.parameters if isinstance(one.default, Dependency)
        }
        self.names = tuple(p.name for p in self.parameters if p.name not in self.dependencies)
        self._check_parameters()

    def _check_parameters(self) -> None:
        if self.parameters and self.parameters[0].name in ("self", "cls"):
            raise TypeError(
                f"parameter {self.parameters[0].name!r}: a task is a function and not a method;"
                " current_job() tells about its job"
            )
        kinds = {one.kind for one in self.parameters}
        for one in self.parameters:
            if one.name not in self.dependencies or one.kind is Parameter.KEYWORD_ONLY:
                continue
            if one.kind is Parameter.POSITIONAL_ONLY or Parameter.VAR_POSITIONAL in kinds:
                raise TypeError(
                    f"parameter {one.name!r} is filled in by the worker, by its name:"
                    " put it behind a * so that it is only given by name"
                )

    # -- reading the annotations ------------------------------------------------------------

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """The shapes of the parameters, by name. Raises `TypeError` that names the parameter."""
        shapes: dict[str, Shape] = {}
        for one in self.parameters:
            if one.name in self.dependencies:
                continue
            try:
                shape = _compiler.shape(self._resolved(one.annotation))
                if one.kind is Parameter.VAR_POSITIONAL:
                    shape = long_tuple_shape(shape, f"tuple[{shape.name}, ...]")
                elif one.kind is Parameter.VAR_KEYWORD:
                    shape = dict_shape(dict, STR, shape, f"dict[str, {shape.name}]")
                shapes[one.name] = shape
            except Unshapable as error:
                raise TypeError(f"task {self.task}: parameter {one.name!r}: {error}") from None
        return shapes

    @cached_property
    def result_shape(self) -> Shape:
        """The shape of the result; any plain value where the annotation does not help."""
        try:
            return _compiler.shape(self._resolved(self._signature.return_annotation))
        except Unshapable:
            return ANY

    def _resolved(self, annotation: Any) -> Any:
        if annotation is Parameter.empty:
            return Any
        holder = type("", (), {"__annotations__": {"it": annotation}})
        try:
            hints = typing.get_type_hints(holder, self._globals(), include_extras=True)
        except Exception as error:
            raise Unshapable(f"its annotation {annotation!r} cannot be read: {error}") from error
        return hints["it"]

    def _globals(self) -> dict[str, Any]:
        function: Any = inspect.unwrap(self.function)
        while isinstance(function, partial):
            function = function.func
        if not hasattr(function, "__globals__"):
            function = type(function).__call__
        found: dict[str, Any] = getattr(function, "__globals__", {})
        return found

    # -- the caller's side --------------------------------------------------------------------

    @cached_property
    def _bind(self) -> Binder:
        injected = frozenset(self.dependencies)
        return make_binder(self.task, self.parameters, self.shapes, injected, self._refused)

    def _refused(self, name: str, misfit: Misfit) -> ArgumentError:
        path = name + misfit.path
        last = self.parameters[-1]
        if name == last.name and last.kind is Parameter.VAR_KEYWORD and misfit.path:
            # The path begins with a key of the map of them: that is the argument's name.
            key, _, rest = misfit.path[2:].partition("']")
            path = key + rest
        return ArgumentError(f"{self.task}(): argument '{path.lstrip('*')}' {misfit.what}")

    def pack(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call as they travel: checked, by parameter name, plain values.

        Raises `ArgumentError`.
        """
        bind = self._bind
        try:
            return bind(*args, **kwargs)
        except ArgumentError:
            raise
        except TypeError as error:
            raise ArgumentError(f"{error}{self._hint(kwargs)}") from None

    def _hint(self, kwargs: Mapping[str, Any]) -> str:
        unknown = [name for name in kwargs if name not in self.names]
        if not unknown or any(p.kind is Parameter.VAR_KEYWORD for p in self.parameters):
            return ""
        return f"; its arguments are {', '.join(self.names) or 'none'}"

    def check_given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Raises `ArgumentError` when a parameter that a worker fills in was not given."""
        if not self.dependencies:
            return
        bound = self._signature.bind_partial(*args, **kwargs).arguments
        missing = [name for name in self.dependencies if name not in bound]
        if missing:
            raise ArgumentError(
                f"{self.task}(): called here, it must be given {', '.join(map(repr, missing))}:"
                " only a worker fills in what Depends stands for"
            )

    def bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a call by name, defaults too. For a call that `pack` took."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return dict(bound.arguments)

    @cached_property
    def encoded_defaults(self) -> Mapping[str, Any]:
        """The defaults as they would travel, of the parameters where that is possible."""
        encoded: dict[str, Any] = {}
        for one in self.parameters:
            if one.default is Parameter.empty or one.name in self.dependencies:
                continue
            try:
                encoded[one.name] = self.shapes[one.name].encode(one.default)
            except Misfit:
                encoded[one.name] = repr(one.default)
        return encoded

    # -- the worker's side ----------------------------------------------------------------------

    @cached_property
    def _decoders(self) -> Mapping[str, tuple[type | None, Callable[[Any], Any]]]:
        decoders: dict[str, tuple[type | None, Callable[[Any], Any]]] = {}
        for one in self.parameters:
            shape = self.shapes.get(one.name)
            if shape is None or one.kind is Parameter.VAR_KEYWORD:
                continue
            key = f"*{one.name}" if one.kind is Parameter.VAR_POSITIONAL else one.name
            decoders[key] = shape.same, named(self.task, key, shape.decode, self._refused)
        return decoders

    @cached_property
    def _required(self) -> tuple[str, ...]:
        variable = (Parameter.VAR_POSITIONAL, Parameter.VAR_KEYWORD)
        return tuple(
            one.name
            for one in self.parameters
            if one.default is Parameter.empty and one.kind not in variable
        )

    @cached_property
    def _by_place(self) -> tuple[Parameter, ...]:
        """The parameters that must be given by their place: all before a *rest, or with a /."""
        kinds = [one.kind for one in self.parameters]
        if Parameter.VAR_POSITIONAL in kinds:
            return tuple(self.parameters[: kinds.index(Parameter.VAR_POSITIONAL) + 1])
        return tuple(one for one in self.parameters if one.kind is Parameter.POSITIONAL_ONLY)

    def unpack(self, payload: Any) -> tuple[list[Any], dict[str, Any]]:
        """A payload as arguments ready for the function, without those of `dependencies`.

        Raises `ArgumentError`, naming the path to what does not fit.
        """
        if payload is None:
            payload = {}
        if type(payload) is not dict:
            what = type(payload).__name__
            raise ArgumentError(
                f"{self.task}(): its payload must be a map of arguments, not {what}"
            )
        decoders = self._decoders
        given: dict[str, Any] = {}
        for name, value in payload.items():
            found = decoders.get(name)
            if found is None:
                given[name] = self._decode_extra(name, value)
            else:
                same, decode = found
                given[name] = value if type(value) is same else decode(value)
        for name in self._required:
            if name not in given:
                missing = [repr(one) for one in self._required if one not in given]
                raise ArgumentError(f"{self.task}(): its payload lacks {', '.join(missing)}")
        return self._places(given) if self._by_place else [], given

    def _decode_extra(self, name: Any, value: Any) -> Any:
        last = self.parameters[-1] if self.parameters else None
        if last is None or last.kind is not Parameter.VAR_KEYWORD or type(name) is not str:
            known = ", ".join(self.names) or "none"
            raise ArgumentError(
                f"{self.task}(): it has no argument {name!r:.60}; its arguments are {known}"
            )
        if name in self.dependencies:
            raise ArgumentError(f"{self.task}(): argument {name!r} is filled in by the worker")
        try:
            return self.shapes[last.name].decode({name: value})[name]
        except Misfit as misfit:
            raise self._refused(last.name, misfit) from misfit.__cause__

    def _places(self, given: dict[str, Any]) -> list[Any]:
        """Take what must be given by place out of `given`."""
        args: list[Any] = []
        for one in self._by_place:
            if one.kind is Parameter.VAR_POSITIONAL:
                args += given.pop(f"*{one.name}", ())
            else:
                args.append(given.pop(one.name, one.default))
        return args

    # -- the result -------------------------------------------------------------------------------

    def encode_result(self, value: Any) -> Any:
        """The result as plain values. Raises `ArgumentError`."""
        return self._code_result(self.result_shape.encode, value)

    def decode_result(self, plain: Any) -> Any:
        """The result as the annotation says. Raises `ArgumentError`."""
        return self._code_result(self.result_shape.decode, plain)

    def _code_result(self, code: Callable[[Any], Any], value: Any) -> Any:
        try:
            return code(value)
        except Misfit as misfit:
            what = f"'result{misfit.path}'" if misfit.path else "its result"
            raise ArgumentError(f"{self.task}(): {what} {misfit.what}") from misfit.__cause__
        except RecursionError:
            raise ArgumentError(f"{self.task}(): its result is nested too deep") from None
