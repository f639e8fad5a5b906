package devorch.testserver.api;

import io.kestra.core.exceptions.InvalidQueryFiltersException;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.validations.ManualConstraintViolation;
import io.micronaut.data.model.Pageable;
import io.micronaut.data.model.Sort;
import io.micronaut.http.HttpRequest;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

import jakarta.validation.ConstraintViolationException;

/**
 * The query parameters that all searches of Kestra 2.0 share: {@code page}, {@code size}, {@code sort=field:asc} and
 * {@code filters[field][OPERATION]}, {@code filters[labels][OPERATION][key]}, {@code filters[or][0][field][OPERATION]}
 * with one level of nested groups (as the encoder of Kestra's Python client, kestrapy 2.0, writes them).
 */
final class Search {
    private static final Pattern SEGMENT = Pattern.compile("\\[([^\\[\\]]+)]");
    private static final String PREFIX = "filters[";
    /** The attribute of a request that may use the parameters of {@code OLD}. */
    static final String OLD_PARAMETERS = "test-server.old-parameters";
    /** What Kestra was filtered by before there were filters; a namespace stands for those below it as well (observed). */
    private static final Map<String, QueryFilter.Op> OLD = Map.of(
        "q", QueryFilter.Op.EQUALS,
        "scope", QueryFilter.Op.EQUALS,
        "namespace", QueryFilter.Op.PREFIX,
        "flowId", QueryFilter.Op.EQUALS,
        "triggerId", QueryFilter.Op.EQUALS,
        "executionId", QueryFilter.Op.EQUALS,
        "state", QueryFilter.Op.IN,
        "labels", QueryFilter.Op.EQUALS,
        "startDate", QueryFilter.Op.GREATER_THAN_OR_EQUAL_TO,
        "endDate", QueryFilter.Op.LESS_THAN_OR_EQUAL_TO
    );

    private Search() {
    }

    /**
     * Which page is asked for, in which order.
     *
     * @param column the name of the column a field is sorted by, or null where that is impossible
     * @throws ConstraintViolationException for a page or size below 1 (observed)
     * @throws IllegalArgumentException for a page or size that is no number, and for a malformed order
     */
    static Pageable page(HttpRequest<?> request, UnaryOperator<String> column) {
        int page = positive(request, "page", 1);
        int size = positive(request, "size", 10);
        List<Sort.Order> orders = request.getParameters().getAll("sort").stream().map(sort -> order(sort, column)).toList();
        return Pageable.from(page, size, orders.isEmpty() ? Sort.UNSORTED : Sort.of(orders));
    }

    private static int positive(HttpRequest<?> request, String name, int otherwise) {
        String text = request.getParameters().get(name);
        int value = text == null ? otherwise : Integer.parseInt(text);
        if (value < 1) {
            String message = "must be greater than or equal to 1";
            throw ManualConstraintViolation.toConstraintViolationException(message, value, Integer.class, "find." + name, value);
        }
        return value;
    }

    private static Sort.Order order(String sort, UnaryOperator<String> column) {
        String[] parts = sort.split(":");
        String name = column.apply(parts[0]);
        if (parts.length > 2 || name == null || parts.length == 2 && !parts[1].matches("(?i)asc|desc")) {
            throw new IllegalArgumentException("Invalid sort parameter: " + sort);
        }
        return parts.length == 2 && parts[1].equalsIgnoreCase("desc") ? Sort.Order.desc(name) : Sort.Order.asc(name);
    }

    /**
     * What is searched for.
     *
     * @throws InvalidQueryFiltersException if a filter cannot be read, or the resource does not know it
     */
    static List<QueryFilter> filters(HttpRequest<?> request, QueryFilter.Resource resource) {
        List<QueryFilter> filters = new ArrayList<>();
        Map<String, Map<Integer, List<Leaf>>> groups = new TreeMap<>();
        boolean old = request.getAttribute(OLD_PARAMETERS).isPresent();
        for (Map.Entry<String, List<String>> parameter : request.getParameters().asMap().entrySet()) {
            if (old && OLD.containsKey(parameter.getKey())) {
                filters.addAll(oldFilters(parameter.getKey(), parameter.getValue(), resource));
            }
            if (!parameter.getKey().startsWith(PREFIX)) {
                continue;
            }
            List<String> path = segments(parameter.getKey());
            for (String value : parameter.getValue()) {
                if (isGroup(path)) {
                    groups.computeIfAbsent(path.get(0), logical -> new TreeMap<>())
                        .computeIfAbsent(index(path), index -> new ArrayList<>())
                        .add(new Leaf(path.subList(2, path.size()), value));
                } else {
                    filters.add(leaf(path, value));
                }
            }
        }
        groups.forEach((logical, members) -> filters.add(group(logical, members.values().stream().map(Search::member).toList())));
        QueryFilter.validateQueryFilters(filters, resource);
        return filters;
    }

    private static List<QueryFilter> oldFilters(String name, List<String> values, QueryFilter.Resource resource) {
        QueryFilter.Field field = QueryFilter.Field.fromString(name);
        if (!resource.supportedField().contains(field)) {
            return List.of();
        }
        QueryFilter.Op operation = OLD.get(name);
        if (field == QueryFilter.Field.LABELS) {
            return values.stream().map(label -> label.split(":", 2)).map(label -> leaf(List.of(name, operation.name(), label[0]), label[1])).toList();
        }
        return List.of(leaf(List.of(name, operation.name()), String.join(",", values)));
    }

    private record Leaf(List<String> path, String value) {
    }

    /** The leaves of one position of a group: a single filter, or a group of its own. */
    private static QueryFilter member(List<Leaf> leaves) {
        if (!isGroup(leaves.getFirst().path())) {
            return leaf(leaves.getFirst().path(), leaves.getFirst().value());
        }
        return group(
            leaves.getFirst().path().getFirst(),
            leaves.stream().map(leaf -> leaf(leaf.path().subList(2, leaf.path().size()), leaf.value())).toList()
        );
    }

    private static QueryFilter group(String logical, List<QueryFilter> children) {
        return QueryFilter.builder().logical(QueryFilter.Logical.fromString(logical)).children(children).build();
    }

    private static QueryFilter leaf(List<String> path, String value) {
        try {
            QueryFilter.Field field = QueryFilter.Field.fromString(path.get(0));
            QueryFilter.Op operation = QueryFilter.Op.fromString(path.get(1));
            return QueryFilter.builder().field(field).operation(operation).value(value(path, operation, value)).build();
        } catch (IllegalArgumentException | IndexOutOfBoundsException e) {
            throw new InvalidQueryFiltersException("filters" + path + ": " + e.getMessage(), e);
        }
    }

    private static Object value(List<String> path, QueryFilter.Op operation, String value) {
        if (path.size() > 2) {
            return Map.of(path.get(2), value);
        }
        return operation == QueryFilter.Op.IN || operation == QueryFilter.Op.NOT_IN ? Arrays.asList(value.split(",")) : value;
    }

    private static boolean isGroup(List<String> path) {
        return path.getFirst().equals("and") || path.getFirst().equals("or");
    }

    private static int index(List<String> path) {
        try {
            return Integer.parseInt(path.get(1));
        } catch (NumberFormatException | IndexOutOfBoundsException e) {
            throw new InvalidQueryFiltersException("filters" + path + ": a group needs a number", e);
        }
    }

    private static List<String> segments(String key) {
        List<String> segments = new ArrayList<>();
        Matcher matcher = SEGMENT.matcher(key);
        while (matcher.find()) {
            segments.add(matcher.group(1));
        }
        if (segments.isEmpty()) {
            throw new InvalidQueryFiltersException(key);
        }
        return segments;
    }
}
