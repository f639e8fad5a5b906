package io.kestra.plugin.scripts.python;

import io.kestra.core.models.annotations.Plugin;
import io.kestra.core.models.annotations.PluginProperty;
import io.kestra.core.models.property.Property;
import io.kestra.core.models.tasks.RunnableTask;
import io.kestra.core.models.tasks.runners.TaskRunner;
import io.kestra.core.runners.FilesService;
import io.kestra.core.runners.RunContext;
import io.kestra.plugin.core.runner.Process;
import io.kestra.plugin.scripts.exec.AbstractExecScript;
import io.kestra.plugin.scripts.exec.scripts.models.ScriptOutput;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

import jakarta.validation.constraints.NotNull;
import lombok.Builder;
import lombok.EqualsAndHashCode;
import lombok.Getter;
import lombok.NoArgsConstructor;
import lombok.ToString;
import lombok.experimental.SuperBuilder;

/**
 * Stand-in for the task of Kestra's plugin-script-python, which no package registry has, under its name and with the
 * properties of its version 1.9. Two things differ: the default runner is Process, since the official one (Docker)
 * needs images from a registry; and {@code dependencies} are not installed but looked for in the image's Python.
 */
@SuperBuilder
@ToString
@EqualsAndHashCode(callSuper = true)
@Getter
@NoArgsConstructor
@Plugin
public class Script extends AbstractExecScript implements RunnableTask<ScriptOutput> {
    /** The official task lets scripts use the JSON literals that expressions render to. */
    private static final String PREAMBLE = "true, false, null = True, False, None\n";

    /** Hides the Docker runner of the parent as the default. */
    @PluginProperty
    @Builder.Default
    @NotNull
    protected TaskRunner<?> taskRunner = Process.builder().type(Process.class.getName()).build();

    @Builder.Default
    protected Property<String> containerImage = Property.ofValue("python:3.13-slim");

    @NotNull
    protected Property<String> script;

    protected Property<List<String>> dependencies;

    /** Accepted; the image has one Python. */
    protected Property<String> pythonVersion;

    /** Accepted; nothing is installed. */
    protected Property<PackageManager> packageManager;

    /** Accepted; nothing is installed. */
    protected Property<Boolean> dependencyCacheEnabled;

    /** Accepted; nothing is installed. */
    protected Property<Boolean> uvAutoInstallEnabled;

    /** How the official task installs dependencies. */
    public enum PackageManager { UV, PIP }

    @Override
    public ScriptOutput run(RunContext runContext) throws Exception {
        var commands = this.commands(runContext);
        Path file = runContext.workingDir().createFile(
            "script.py", (PREAMBLE + commands.render(runContext, script)).getBytes(StandardCharsets.UTF_8)
        );
        List<String> run = new ArrayList<>();
        List<String> required = runContext.render(dependencies).asList(String.class);
        if (!required.isEmpty()) {
            Path list = runContext.workingDir().createFile("dependencies.txt", String.join("\n", required).getBytes(StandardCharsets.UTF_8));
            run.add("python3 \"$TEST_SERVER_HOME/check_dependencies.py\" " + list);
        }
        run.add("python3 " + file);
        return commands
            .withInterpreter(this.interpreter)
            .withBeforeCommands(beforeCommands)
            .withBeforeCommandsWithOptions(true)
            .withCommands(Property.ofValue(run))
            .run();
    }
}
