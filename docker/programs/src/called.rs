//! Which program is meant by the name of a process and its first argument. Pure.

use std::ffi::OsString;
use std::path::Path;

/// What can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    Master,
    Worker,
    /// Under its own name and as `spark-submit`, which it tells apart itself.
    Submit,
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// To run it with these arguments, the first of which is its name.
    As(Program, Vec<OsString>),
    ForHelp,
    ForVersion,
    /// Neither a name nor an argument says which program.
    ForNothing,
    /// A name or an argument that is no program.
    Wrongly(String),
}

/// What `arguments` mean, the first of which is the name that this process was started with.
pub(crate) fn of(mut arguments: Vec<OsString>) -> Called {
    if let Some(program) = arguments.first().and_then(|name| by_name(&file_name(name))) {
        return Called::As(program, arguments);
    }
    let Some(word) = arguments.get(1).map(|word| word.to_string_lossy().into_owned()) else {
        return Called::ForNothing;
    };
    let (program, name) = match word.as_str() {
        "master" => (Program::Master, "lake-master"),
        "worker" => (Program::Worker, "lake-worker"),
        "submit" => (Program::Submit, "lake-submit"),
        "help" | "-h" | "--help" => return Called::ForHelp,
        "-V" | "--version" => return Called::ForVersion,
        _ => return Called::Wrongly(word),
    };
    arguments.splice(..2, [OsString::from(name)]);
    Called::As(program, arguments)
}

fn by_name(name: &str) -> Option<Program> {
    match name {
        "lake-master" => Some(Program::Master),
        "lake-worker" => Some(Program::Worker),
        "lake-submit" | "spark-submit" => Some(Program::Submit),
        _ => None,
    }
}

fn file_name(path: &OsString) -> String {
    Path::new(path).file_name().unwrap_or(path).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(words: &str) -> Called {
        of(words.split(' ').map(OsString::from).collect())
    }

    fn program(program: Program, words: &str) -> Called {
        Called::As(program, words.split(' ').map(OsString::from).collect())
    }

    #[test]
    fn a_link_is_the_program_of_its_name_wherever_it_is() {
        assert_eq!(called("lake-master --port 1"), program(Program::Master, "lake-master --port 1"));
        assert_eq!(called("/usr/local/bin/lake-worker"), program(Program::Worker, "/usr/local/bin/lake-worker"));
        assert_eq!(called("./lake-submit job.toml"), program(Program::Submit, "./lake-submit job.toml"));
        assert_eq!(called("/x/spark-submit --class A"), program(Program::Submit, "/x/spark-submit --class A"));
        // The name decides before the arguments do.
        assert_eq!(called("lake-submit worker"), program(Program::Submit, "lake-submit worker"));
    }

    #[test]
    fn under_its_own_name_the_first_argument_says_which() {
        assert_eq!(called("/bin/lake worker drain w-1"), program(Program::Worker, "lake-worker drain w-1"));
        assert_eq!(called("lake master"), program(Program::Master, "lake-master"));
        assert_eq!(called("lake submit job.toml"), program(Program::Submit, "lake-submit job.toml"));
        assert_eq!(called("lake"), Called::ForNothing);
        assert_eq!(called("lake help"), Called::ForHelp);
        assert_eq!(called("lake --help"), Called::ForHelp);
        assert_eq!(called("lake --version"), Called::ForVersion);
        assert_eq!(called("lake driver"), Called::Wrongly("driver".to_owned()));
        assert_eq!(of(Vec::new()), Called::ForNothing);
    }
}
