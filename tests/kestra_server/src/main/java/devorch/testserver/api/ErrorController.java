package devorch.testserver.api;

import io.kestra.core.exceptions.AlreadyExistsException;
import io.kestra.core.exceptions.ConflictException;
import io.kestra.core.exceptions.DeserializationException;
import io.kestra.core.exceptions.FlowProcessingException;
import io.kestra.core.exceptions.InputOutputValidationException;
import io.kestra.core.exceptions.InvalidQueryFiltersException;
import io.kestra.core.exceptions.InvalidTypeConstraintViolationException;
import io.kestra.core.exceptions.NotFoundException;
import io.kestra.core.exceptions.ResourceExpiredException;
import io.micronaut.core.convert.exceptions.ConversionErrorException;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Error;
import io.micronaut.http.exceptions.BufferLengthExceededException;
import io.micronaut.http.exceptions.ContentLengthExceededException;
import io.micronaut.http.exceptions.HttpStatusException;
import io.micronaut.http.server.exceptions.NotAcceptableException;
import io.micronaut.http.server.exceptions.NotAllowedException;
import io.micronaut.http.server.exceptions.UnsupportedMediaException;
import io.micronaut.web.router.exceptions.UnsatisfiedBodyRouteException;
import io.micronaut.web.router.exceptions.UnsatisfiedRouteException;

import java.io.FileNotFoundException;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.concurrent.CompletionException;
import java.util.regex.Pattern;

import jakarta.validation.ConstraintViolationException;
import lombok.extern.slf4j.Slf4j;
import reactor.core.Exceptions;

/** Turns what the engine and the HTTP layer throw into the problems of Kestra 2.0 ("API reference: problems"). */
@Slf4j
@Controller
class ErrorController {
    private static final Pattern INDEX = Pattern.compile("\\[(\\d+)]");
    /** A place in the flow; Jackson names the classes it went through instead. */
    private static final Pattern PLACE = Pattern.compile("[\\w-]+(\\[\\d+])?(\\.[\\w-]+(\\[\\d+])?)*");

    @Error(global = true)
    HttpResponse<Problem> problem(HttpRequest<?> request, Throwable thrown) {
        Throwable error = unwrap(thrown);
        return switch (error) {
            case AlreadyExistsException e -> answer(request, HttpStatus.CONFLICT, "entity-already-exists", e);
            case ConflictException e -> answer(request, HttpStatus.CONFLICT, "conflict", e);
            case IllegalStateException e -> answer(request, HttpStatus.CONFLICT, "conflict", e);
            case InvalidTypeConstraintViolationException e -> violations(request, "invalid-plugin-type", e);
            case ConstraintViolationException e -> violations(request, "validation-failed", e);
            case InputOutputValidationException e -> answer(request, HttpStatus.UNPROCESSABLE_ENTITY, "validation-failed", e);
            case FlowProcessingException e -> answer(request, HttpStatus.UNPROCESSABLE_ENTITY, "invalid-entity", e);
            case DeserializationException e -> answer(request, HttpStatus.UNPROCESSABLE_ENTITY, "invalid-entity", e);
            case InvalidQueryFiltersException e -> answer(request, HttpStatus.BAD_REQUEST, "invalid-query-filters", e);
            case UnsatisfiedBodyRouteException e -> answer(request, HttpStatus.UNPROCESSABLE_ENTITY, "invalid-request-body", e);
            case UnsatisfiedRouteException e -> answer(request, HttpStatus.BAD_REQUEST, "invalid-query-parameter", e);
            case ConversionErrorException e -> answer(request, HttpStatus.BAD_REQUEST, "invalid-query-parameter", e);
            case io.micronaut.http.server.exceptions.NotFoundException e -> answer(request, HttpStatus.NOT_FOUND, "not-found", e);
            case NoSuchElementException e -> answer(request, HttpStatus.NOT_FOUND, "not-found", e);
            case NotFoundException e -> answer(request, HttpStatus.NOT_FOUND, "not-found", e);
            case FileNotFoundException e -> answer(request, HttpStatus.NOT_FOUND, "not-found", e);
            case ResourceExpiredException e -> answer(request, HttpStatus.GONE, "resource-expired", e);
            case NotAllowedException e -> answer(request, HttpStatus.METHOD_NOT_ALLOWED, "method-not-allowed", e);
            case NotAcceptableException e -> answer(request, HttpStatus.NOT_ACCEPTABLE, "not-acceptable", e);
            case UnsupportedMediaException e -> answer(request, HttpStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", e);
            case ContentLengthExceededException e -> answer(request, HttpStatus.REQUEST_ENTITY_TOO_LARGE, "payload-too-large", e);
            case BufferLengthExceededException e -> answer(request, HttpStatus.REQUEST_ENTITY_TOO_LARGE, "payload-too-large", e);
            case HttpStatusException e -> answer(request, e.getStatus(), "bad-request", e);
            case IllegalArgumentException e -> answer(request, HttpStatus.UNPROCESSABLE_ENTITY, "invalid-argument", e);
            default -> {
                log.error("{} {}", request.getMethodName(), request.getPath(), error);
                yield Problem.of(HttpStatus.INTERNAL_SERVER_ERROR, "internal-error", "An unexpected error occurred.", request).toResponse();
            }
        };
    }

    /** The engine wraps what a client should see: a flow's violations in a processing exception, for instance. */
    private static Throwable unwrap(Throwable thrown) {
        Throwable error = Exceptions.unwrap(thrown);
        boolean wrapper = error instanceof FlowProcessingException || error instanceof CompletionException || error instanceof DeserializationException;
        return wrapper && error.getCause() != null ? unwrap(error.getCause()) : error;
    }

    private static HttpResponse<Problem> answer(HttpRequest<?> request, HttpStatus status, String name, Throwable error) {
        String detail = error.getMessage() != null ? error.getMessage() : status.getReason();
        return Problem.of(status, name, detail, request).toResponse();
    }

    private static HttpResponse<Problem> violations(HttpRequest<?> request, String name, ConstraintViolationException e) {
        List<Problem.Violation> errors = e.getConstraintViolations().stream()
            .map(violation -> {
                String path = violation.getPropertyPath().toString();
                String pointer = PLACE.matcher(path).matches() ? "/" + INDEX.matcher(path).replaceAll("/$1").replace('.', '/') : null;
                return new Problem.Violation(violation.getMessage(), pointer, path);
            })
            .toList();
        return Problem.of(HttpStatus.UNPROCESSABLE_ENTITY, name, e.getMessage(), request, errors.isEmpty() ? null : errors).toResponse();
    }
}
